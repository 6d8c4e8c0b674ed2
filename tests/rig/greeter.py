"""A server that speaks first, as mail servers do, and then echoes."""

import socketserver
from collections.abc import Iterator
from contextlib import contextmanager

from rig.corporate import serving

GREETING = b"220 ready\r\n"


class _Greeter(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(GREETING)
        while data := self.request.recv(4096):
            self.request.sendall(b"echo " + data)


@contextmanager
def greeter() -> Iterator[int]:
    """Run one on a loopback port."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Greeter)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # the probe hangs up
    with serving(server):
        yield int(server.server_address[1])

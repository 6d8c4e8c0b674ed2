"""A proxy such as companies have: CONNECT only, with a password, and it alone resolves names."""

import base64
import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from urllib.parse import quote


class CorporateProxy:
    """Listens on a loopback port; leads where `resolve` (HOST:PORT:ADDRESS:PORT) says.

    `targets` are the HOST:PORT that were asked for with the right password, `refused` the rest.
    """

    def __init__(
        self,
        resolve: Iterable[str],
        account: str = "proxy",
        password: str = "odd:/@",  # noqa: S107
    ) -> None:
        self.places: dict[str, tuple[str, int]] = {}
        for line in resolve:
            host, port, address, real = line.rsplit(":", 3)
            self.places[f"{host}:{port}"] = (address, int(real))
        basic = base64.b64encode(f"{account}:{password}".encode()).decode()
        self.authorization = f"Basic {basic}"
        self._login = f"{quote(account, safe='')}:{quote(password, safe='')}"
        self.targets: list[str] = []
        self.refused: list[str] = []
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        """The address with the login in it, percent-encoded."""
        return f"http://{self._login}@127.0.0.1:{self.port}"

    def admit(self, target: str, authorization: str | None) -> int:
        """Decide about a CONNECT; return the status to answer with."""
        if authorization != self.authorization:
            self.refused.append(target)
            return 407
        if target not in self.places:
            self.refused.append(target)
            return 502
        self.targets.append(target)
        return 200

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, proxy: CorporateProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy


class _Handler(socketserver.StreamRequestHandler):
    server: _Server
    rbufsize = 0  # what follows the head is not ours to read ahead

    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode().split()
        headers: dict[str, str] = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if method != "CONNECT":
            self.wfile.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        place = self.server.proxy.places.get(target)
        status = self.server.proxy.admit(target, headers.get("proxy-authorization"))
        if place is None or status != 200:
            phrase = HTTPStatus(status).phrase
            self.wfile.write(f"HTTP/1.1 {status} {phrase}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        with socket.create_connection(place) as upstream:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _join(self.connection, upstream)


class RelayServer(socketserver.ThreadingTCPServer):
    """Takes connections at a place and joins each to `target`; `taken` counts them."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, place: tuple[str, int], target: tuple[str, int]) -> None:
        super().__init__(place, _Relay)
        self.target = target
        self.taken = 0


class _Relay(socketserver.BaseRequestHandler):
    server: RelayServer

    def handle(self) -> None:
        self.server.taken += 1
        with contextlib.suppress(OSError), socket.create_connection(self.server.target) as upstream:
            _join(self.request, upstream)


@contextlib.contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve on a thread of its own while the block runs."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _join(one: socket.socket, other: socket.socket) -> None:
    back = threading.Thread(target=_copy, args=(other, one), daemon=True)
    back.start()
    _copy(one, other)
    back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)

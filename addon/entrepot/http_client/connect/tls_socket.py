"""A client's TLS socket that takes from the kernel as much as there is.

``ssl.SSLSocket`` gives one record of at most 16 KiB a call, for two system calls each. Here the
kernel fills a buffer of 128 KiB at once, from which every whole record is decrypted: half the
processor time a byte, and far fewer fights for the interpreter's lock. The rest of the socket is
urllib3's own ``SSLTransport``, made for TLS over another stream.
"""

import socket
import ssl
import time
from typing import Any

from urllib3.util.ssltransport import SSLTransport

_RECEIVE = 128 * 1024


def pending(transport: SSLTransport) -> int:
    """Bytes that were taken from what carries it, and that nobody has read."""
    return int(transport.sslobj.pending() + transport.incoming.pending)


class TLSSocket(SSLTransport):
    """TLS over a connected socket; reads give what has come, up to all that is asked for.

    A handshake must be whole within the socket's timeout, and so must a record: neither may drip.
    """

    _broken: ssl.SSLError | None = None
    """What ended it; OpenSSL itself says it once, and then speaks of an end."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, server_hostname: str | None
    ) -> None:
        bounded = _DeadlineSocket(sock)
        super().__init__(bounded, context, server_hostname)  # type: ignore[arg-type]
        self.socket = sock
        bounded.relax()

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Fill ``buffer`` with what has come; wait for the first byte only. 0 at the end.

        Raises OSError (``ssl.SSLError`` among them) where the connection breaks.
        """
        if flags:
            raise ValueError("flags are not for TLS")
        if self._broken is not None:
            raise self._broken
        view = memoryview(buffer).cast("B")[:nbytes]
        bounded = _DeadlineSocket(self.socket)
        try:
            return self._fill(view, bounded)
        finally:
            bounded.relax()

    def _fill(self, view: memoryview, source: "_DeadlineSocket") -> int:
        count = 0
        while count < len(view):
            try:
                more = self.sslobj.read(len(view) - count, view[count:])
            except ssl.SSLWantReadError:
                if count:
                    break
                self._receive(source)
                continue
            except ssl.SSLEOFError:  # closed without a goodbye: HTTP's own framing tells a cut
                break
            except ssl.SSLError as error:
                self._broken = error
                if count:
                    break  # what came before it counts
                raise
            if not more:
                break
            count += int(more)
        return count

    def _receive(self, source: "_DeadlineSocket") -> None:
        """Wait for encrypted bytes."""
        if answer := self.outgoing.read():
            source.sendall(answer)
        data = source.recv(_RECEIVE)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """What has come, at most ``buflen`` bytes; see :meth:`recv_into`."""
        buffer = bytearray(buflen)
        return bytes(buffer[: self.recv_into(buffer, flags=flags)])

    def pending(self) -> int:
        """Bytes that were taken from the kernel, and that nobody has read."""
        return pending(self)


class _DeadlineSocket:
    """A socket all of whose waits together may take as long as one."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._patience = sock.gettimeout()
        self._until = None if self._patience is None else time.monotonic() + self._patience
        self._waits = 0

    def recv(self, most: int) -> bytes:
        self._hurry()
        return self._sock.recv(most)

    def sendall(self, data: bytes) -> None:
        self._hurry()
        self._sock.sendall(data)

    def relax(self) -> None:
        """Let each wait take as long again."""
        if self._waits > 1:
            self._sock.settimeout(self._patience)

    def _hurry(self) -> None:
        """Take off what the waits before took; the first has all, which costs it nothing."""
        self._waits += 1
        if self._until is None or self._waits == 1:
            return
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)


class TLSContext(ssl.SSLContext):
    """A client's TLS context that makes such sockets."""

    def wrap_socket(  # type: ignore[override]
        self, sock: socket.socket, *, server_hostname: str | None = None
    ) -> TLSSocket:
        """Make TLS on a connected socket, handshake included. Raises OSError."""
        return TLSSocket(sock, self, server_hostname)

"""A client's TLS socket that takes from the kernel as much as there is.

``ssl.SSLSocket`` gives one record of at most 16 KiB a call, for two system calls each. Here the
kernel fills a buffer of 128 KiB at once, from which every whole record is decrypted: half the
processor time a byte, and far fewer fights for the interpreter's lock. The rest of the socket is
urllib3's own ``SSLTransport``, made for TLS over another stream.
"""

import socket
import ssl
from typing import Any

from urllib3.util.ssltransport import SSLTransport

_RECEIVE = 128 * 1024


def pending(transport: SSLTransport) -> int:
    """Bytes that were taken from what carries it, and that nobody has read."""
    return int(transport.sslobj.pending() + transport.incoming.pending)


class WideSocket(SSLTransport):
    """TLS over a connected socket; reads give what has come, up to all that is asked for."""

    _broken: ssl.SSLError | None = None
    """What ended it; OpenSSL itself says it once, and then speaks of an end."""

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Fill ``buffer`` with what has come; wait for the first byte only. 0 at the end.

        Raises OSError (``ssl.SSLError`` among them) where the connection breaks.
        """
        if flags:
            raise ValueError("flags are not for TLS")
        if self._broken is not None:
            raise self._broken
        view = memoryview(buffer).cast("B")[:nbytes]
        count = 0
        while count < len(view):
            try:
                more = self.sslobj.read(len(view) - count, view[count:])
            except ssl.SSLWantReadError:
                if count:
                    break
                self._receive()
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

    def _receive(self) -> None:
        """Wait for encrypted bytes."""
        if answer := self.outgoing.read():
            self.socket.sendall(answer)
        data = self.socket.recv(_RECEIVE)
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


class WideContext(ssl.SSLContext):
    """A client's TLS context whose sockets are wide."""

    def wrap_socket(  # type: ignore[override]
        self, sock: socket.socket, *, server_hostname: str | None = None
    ) -> WideSocket:
        """Make TLS on a connected socket, handshake included. Raises OSError."""
        return WideSocket(sock, self, server_hostname)

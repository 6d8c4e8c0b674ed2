"""Bounds on what a client can make mitmproxy's layers hold, and on what they take for a request.

Internals of mitmproxy 11.0 to 12.3, covered by ``tests/attack``. By itself mitmproxy collects a
head, a TLS ClientHello, a chunk's first line and pipelined requests however long they become;
trailers crash it; a TLS connection keeps a buffer as large as the largest piece ever sent on it.
"""

from typing import Any

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import RequestProtocolError
from mitmproxy.proxy.layers.http._http1 import Http1Server, make_error_response
from mitmproxy.proxy.layers.tls import ClientTLSLayer, ServerTLSLayer
from OpenSSL import SSL

from entrepot.mitm import heads

_MOST_WAITING = heads.MOST_BYTES + 64 * 1024
"""Bytes received but not yet looked at: a head, and what one read of the socket brings."""

_HELLO = 64 * 1024
_PIECE = 64 * 1024
"""Bytes encrypted at once. Records of 16 KiB by themselves took 1.4 times the CPU (measured)."""
_PIECES = 8
"""How many are handed on at once."""


class BoundedServer(Http1Server):
    """HTTP/1 with a client, strict and bounded."""

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        """Refuse a head that is too large or that others might read differently."""
        received = bytes(self.buf)
        blank = heads.blank_lines(received)
        self.buf.maybe_extract_at_most(blank)
        refused = heads.refusal(received[blank:])
        if refused is not None and isinstance(event, events.DataReceived):
            self.buf.maybe_extract_at_most(len(self.buf))
            yield commands.SendData(self.conn, make_error_response(refused.status, refused.reason))
            yield commands.CloseConnection(self.conn)
            self.state = self.done
            return
        yield from super().read_headers(event)

    def read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Read a body, and end the connection where that fails."""
        try:
            yield from super().read_body(event)
        except NotImplementedError:
            yield from self._give_up("trailers are not supported")
            return
        if self.state == self.read_body:
            yield from self._bounded()

    def wait(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Wait for the answer, while the client may send its next requests already."""
        yield from super().wait(event)
        yield from self._bounded()

    def _bounded(self) -> layer.CommandGenerator[None]:
        if len(self.buf) > _MOST_WAITING:
            yield from self._give_up("too much at once")

    def _give_up(self, reason: str) -> layer.CommandGenerator[None]:
        self.state = self.done
        self.buf.maybe_extract_at_most(len(self.buf))
        yield commands.CloseConnection(self.conn)
        yield ReceiveHttp(RequestProtocolError(self.stream_id, reason, RequestProtocolError.code))


class BoundedTLS(ClientTLSLayer):
    """TLS with a client, in bounded memory."""

    def receive_handshake_data(
        self, data: bytes
    ) -> layer.CommandGenerator[tuple[bool, str | None]]:
        """End a handshake whose ClientHello does not end."""
        if not self.client_hello_parsed and len(self.recv_buffer) + len(data) > _HELLO:
            self.recv_buffer.clear()
            return False, "the ClientHello is too long"
        return (yield from super().receive_handshake_data(data))

    def start_tls(self) -> layer.CommandGenerator[None]:
        """Let OpenSSL give back the buffers of its records, 34 KiB, while nothing is under way."""
        yield from super().start_tls()
        if self.tls is not None:
            lib: Any = SSL._lib  # type: ignore[attr-defined] # noqa: SLF001 pyOpenSSL has no name
            lib.SSL_set_mode(self.tls._ssl, SSL.MODE_RELEASE_BUFFERS)  # noqa: SLF001

    def send_data(self, data: bytes) -> layer.CommandGenerator[None]:
        """Encrypt piece by piece: OpenSSL's buffer stays as large as the largest ever was."""
        view, sealed = memoryview(data), list[bytes]()
        try:
            for start in range(0, len(view), _PIECE):
                self.tls.sendall(view[start : start + _PIECE])
                sealed.append(self.tls.bio_read(2 * _PIECE))
        except SSL.Error:
            pass  # the other side has closed: what it would not read is dropped
        for first in range(0, len(sealed), _PIECES):
            yield commands.SendData(self.conn, b"".join(sealed[first : first + _PIECES]))


def inside_tls(context: Context) -> ServerTLSLayer:
    """The layers for TLS inside a CONNECT, as mitmproxy's own choice makes them."""
    server = ServerTLSLayer(context)
    server.child_layer = BoundedTLS(context)
    return server

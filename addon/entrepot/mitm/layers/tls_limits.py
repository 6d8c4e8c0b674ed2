"""TLS: bounds on what a client can make mitmproxy's layer hold, ends that are told, late tunnels.

By itself mitmproxy collects a ClientHello however long it becomes; keeps, for each connection, a
buffer as large as the largest piece ever sent on it; and never ends a request whose server ends TLS
by an alert. And what becomes a tunnel with its ClientHello would go past the upstream proxy.

Internals of mitmproxy 11.0 to 12.3, covered by ``tests/attack`` and ``tests/wire``.
"""

from typing import Any

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.tls import ClientTLSLayer, ServerTLSLayer
from OpenSSL import SSL

from entrepot.mitm.layers.connect_tunnel import late_tunnel

_HELLO = 64 * 1024
_PIECE = 64 * 1024
"""Bytes encrypted at once. Records of 16 KiB by themselves took 1.4 times the CPU (measured)."""
_PIECES = 8
"""How many are handed on at once."""


class BoundedClientTLS(ClientTLSLayer):
    """TLS with a client, in bounded memory."""

    def receive_handshake_data(
        self, data: bytes
    ) -> layer.CommandGenerator[tuple[bool, str | None]]:
        """End a handshake whose ClientHello does not end; go the right way where none is to be."""
        if not self.client_hello_parsed and len(self.recv_buffer) + len(data) > _HELLO:
            self.recv_buffer.clear()
            return False, "the ClientHello is too long"
        told = yield from super().receive_handshake_data(data)
        if self.conn is not self.context.client:  # the addon has it ignored, and nothing was sent
            self.child_layer = late_tunnel(self.context)
        return told

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


class EndingServerTLS(ServerTLSLayer):
    """TLS with a server, whose end is always told.

    mitmproxy takes an alert for a close that it told of already, and the request waits for ever. In
    TLS 1.3 a server that insists on a client's certificate sends one behind the handshake.
    """

    _is_told = False

    def event_to_child(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Pass an event on."""
        if isinstance(event, events.ConnectionClosed) and event.connection is self.conn:
            self._is_told = True
        yield from super().event_to_child(event)

    def receive_close(self) -> layer.CommandGenerator[None]:
        """Tell that the connection has ended, where that is news."""
        if not self._is_told:
            yield from self.event_to_child(events.ConnectionClosed(self.conn))


def intercepting_tls(context: Context) -> ServerTLSLayer:
    """The layers for TLS inside a CONNECT, as mitmproxy's own choice makes them."""
    server = EndingServerTLS(context)
    server.child_layer = BoundedClientTLS(context)
    return server

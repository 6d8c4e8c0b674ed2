"""Bounds on what a peer can make mitmproxy's layers hold, and on what they take for a message.

Internals of mitmproxy 11.0 to 12.3, covered by ``tests/attack``. By itself mitmproxy collects a
head, a TLS ClientHello, a chunk's first line and pipelined requests however long they become;
trailers crash it; a TLS connection keeps a buffer as large as the largest piece ever sent on it; a
request whose server ends TLS by an alert has no end; what follows a 101 loses its leading blank
lines, or is framed in chunks.
"""

from typing import Any

import h11
from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import (
    Http1Client,
    Http1Server,
    TBodyReader,
    make_body_reader,
)
from mitmproxy.proxy.layers.tls import ClientTLSLayer, ServerTLSLayer
from OpenSSL import SSL

from entrepot.mitm.layers import request_head
from entrepot.mitm.layers.error_pages import (
    RefusedError,
    fault_of_client,
    raw,
    refusal,
    status_of,
    unanswered,
    understand,
)

_MOST_WAITING = request_head.MOST_BYTES + 64 * 1024
"""Bytes received but not yet looked at: a head, and what one read of the socket brings."""
_MOST_ANSWERED = 256 * 1024
"""Bytes of an answer's head. Our own fetches bear less; what passes through is the client's."""
_MOST_DISCARDED = 64 * 1024 * 1024
"""Bytes of a body that are let go by behind an answer that refuses it."""

_HELLO = 64 * 1024
_PIECE = 64 * 1024
"""Bytes encrypted at once. Records of 16 KiB by themselves took 1.4 times the CPU (measured)."""
_PIECES = 8
"""How many are handed on at once."""


class BoundedServer(Http1Server):
    """HTTP/1 with a client, strict and bounded. Every error is told in words of ours."""

    def __init__(self, context: Context, *, oci: bool) -> None:
        """``oci``: whether a registry is spoken to here, whatever is asked."""
        super().__init__(context)
        self._oci = oci
        self._discarded = 0

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        """Refuse a head that is too large or that others might read differently."""
        if not isinstance(event, events.DataReceived):
            yield from super().read_headers(event)
            return
        received = bytes(self.buf)
        blank = request_head.blank_lines(received)
        self.buf.maybe_extract_at_most(blank)
        refused = request_head.refusal(received[blank:])
        lines = None if refused is not None else self.buf.maybe_extract_lines()
        if lines:
            try:
                self.request = http1.read_request_head([bytes(line) for line in lines])
                size = http1.expected_http_body_size(self.request)
            except ValueError:
                refused = request_head.Refusal(400, "the request could be read in two ways")
            else:
                head = RequestHeaders(self.stream_id, self.request, size == 0)
                yield ReceiveHttp(head)
                if self.state == self.read_headers:  # else it was refused, body and all
                    self.body_reader = _Reader(make_body_reader(size))  # type: ignore[assignment]
                    self.state = self.read_body
                yield from self.state(event)
        if refused is not None:
            answer = refusal(refused.status, refused.reason, self.request, oci=self._oci)
            yield from self._end(answer, linger=refused.status == 431)

    def read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Read a body, and end the connection where that fails."""
        try:
            yield from super().read_body(event)
        except NotImplementedError:
            yield from self._give_up("trailers are not supported")
        except _MalformedError:
            yield from self._give_up("the body is no valid HTTP")
        if self.state == self.read_body:
            yield from self._bounded()

    def wait(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Wait for the answer, while the client may send its next requests already."""
        yield from super().wait(event)
        yield from self._bounded()

    def send(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        """Send what a stream has; of an error, what it is in words of ours."""
        if self.state in (self.done, self._discard):
            return  # the last word is said
        failed = isinstance(event, ResponseProtocolError) and self.response is None
        answer = self._answer(event) if isinstance(event, ResponseProtocolError) else None
        if failed and answer is not None and self.conn.state & ConnectionState.CAN_WRITE:
            yield from self._end(answer, linger=not self.request_done)
        else:
            yield from super().send(event)

    def _answer(self, event: ResponseProtocolError) -> http.Response | None:
        if isinstance(event, RefusedError):
            return event.response
        status = status_of(event)
        if status is None:
            return None
        if status >= 500 and self.request is not None:
            return unanswered(self.request, understand(event.message).reason, oci=self._oci)
        return refusal(status, fault_of_client(event.message), self.request, oci=self._oci)

    def make_pipe(self) -> layer.CommandGenerator[None]:
        """Hand on every byte behind an upgrade; mitmproxy would drop blank lines."""
        yield from _piped(self) if _is_upgraded(self) else super().make_pipe()

    def _bounded(self) -> layer.CommandGenerator[None]:
        if len(self.buf) > _MOST_WAITING:
            yield from self._give_up("too much at once")

    def _give_up(self, reason: str) -> layer.CommandGenerator[None]:
        """End a connection whose client sends what cannot be read; it is told so, if it may be."""
        self.buf.maybe_extract_at_most(len(self.buf))
        self.state = self.done
        yield ReceiveHttp(RequestProtocolError(self.stream_id, reason, RequestProtocolError.code))
        if self.response is None:
            yield from self._end(refusal(400, reason, self.request, oci=self._oci), linger=True)
        else:
            yield commands.CloseConnection(self.conn)

    def _end(self, answer: http.Response, *, linger: bool) -> layer.CommandGenerator[None]:
        """Answer, and end the connection.

        ``linger``: the client is still sending. Closing on it would lose the answer on its way
        (RFC 9112 section 9.6), so that is let go by.
        """
        self.response = answer
        self.buf.maybe_extract_at_most(len(self.buf))
        yield commands.SendData(self.conn, raw(answer))
        if linger:
            self.state = self._discard
            yield commands.CloseTcpConnection(self.conn, half_close=True)
        else:
            self.state = self.done
            yield commands.CloseConnection(self.conn)

    def _discard(self, event: events.Event) -> layer.CommandGenerator[None]:
        self._discarded += len(self.buf)
        self.buf.maybe_extract_at_most(len(self.buf))
        if isinstance(event, events.ConnectionClosed) or self._discarded > _MOST_DISCARDED:
            self.state = self.done
            yield commands.CloseConnection(self.conn)


class BoundedClient(Http1Client):
    """HTTP/1 with a server: a bounded head, and bytes as they are behind an upgrade."""

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        """Refuse a head without end."""
        yield from super().read_headers(event)
        if self.state == self.read_headers and len(self.buf) > _MOST_ANSWERED:
            self.buf.maybe_extract_at_most(len(self.buf))
            self.state = self.done
            yield commands.CloseConnection(self.conn)
            if self.stream_id is not None:
                problem, code = "head is too long", ResponseProtocolError.code
                yield ReceiveHttp(ResponseProtocolError(self.stream_id, problem, code))

    def send(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        """Send what a stream has; behind an upgrade, without HTTP's framing."""
        if self.state != self.passthrough:
            yield from super().send(event)
        elif isinstance(event, RequestData):
            yield commands.SendData(self.conn, event.data)
        elif isinstance(event, RequestEndOfMessage):
            yield commands.CloseTcpConnection(self.conn, half_close=True)
        else:
            yield from super().send(event)

    def make_pipe(self) -> layer.CommandGenerator[None]:
        """As :meth:`BoundedServer.make_pipe`."""
        yield from _piped(self)


class _MalformedError(Exception):
    """A body that is framed wrongly."""


class _Reader:
    """A reader of bodies that leaves it to us how a malformed one is answered."""

    def __init__(self, reader: TBodyReader) -> None:
        self._read = reader
        self.read_eof = reader.read_eof

    def __call__(self, received: Any) -> Any:
        try:
            return self._read(received)
        except h11.ProtocolError:
            raise _MalformedError from None


def _is_upgraded(connection: Http1Server) -> bool:
    return connection.response is not None and connection.response.status_code == 101


def _piped(connection: Http1Server | Http1Client) -> layer.CommandGenerator[None]:
    connection.state = connection.passthrough
    received = bytes(connection.buf.maybe_extract_at_most(len(connection.buf)) or b"")
    if received:
        yield from connection.passthrough(events.DataReceived(connection.conn, received))


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


class EndingTLS(ServerTLSLayer):
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


def inside_tls(context: Context) -> ServerTLSLayer:
    """The layers for TLS inside a CONNECT, as mitmproxy's own choice makes them."""
    server = EndingTLS(context)
    server.child_layer = BoundedTLS(context)
    return server

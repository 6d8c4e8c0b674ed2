"""HTTP/1: bounds on what a peer can make mitmproxy hold, and on what it takes for a message.

By itself mitmproxy collects a head, a chunk's first line and pipelined requests however long they
become; it reads heads that others would read differently (``request_head``); trailers crash it; and
it answers a malformed request by a page of HTML.

Internals of mitmproxy 11.0 to 12.3, covered by ``tests/attack/test_hostile_clients.py``.
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

from entrepot.mitm.layers import request_head
from entrepot.mitm.layers.error_pages import RefusedError, raw, refusal, unanswered
from entrepot.mitm.layers.mitmproxy_errors import fault_of_client, status_of, understand
from entrepot.mitm.layers.upgrade import hand_on_bytes, is_upgraded

_MOST_WAITING = request_head.MOST_BYTES + 64 * 1024
"""Bytes received but not yet looked at: a head, and what one read of the socket brings."""
_MOST_ANSWERED = 256 * 1024
"""Bytes of an answer's head. Our own fetches bear less; what passes through is the client's."""
_MOST_DISCARDED = 64 * 1024 * 1024
"""Bytes of a body that are let go by behind an answer that refuses it."""


class BoundedHttp1Server(Http1Server):
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
        yield from hand_on_bytes(self) if is_upgraded(self) else super().make_pipe()

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


class BoundedHttp1Client(Http1Client):
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
        """As :meth:`BoundedHttp1Server.make_pipe`."""
        yield from hand_on_bytes(self)


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

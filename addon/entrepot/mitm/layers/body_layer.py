"""Sending a body in band: mitmproxy's HTTP layer, taught to stream a file.

``flow.response`` with content holds a body whole in memory, twice; this sends it in chunks of
1 MiB with the client's own pace as backpressure (measured: as fast as nginx, 80 MB).

How it hangs in mitmproxy 11.0 to 12.3, all of it internal and covered by
``tests/wire/test_serving.py``, which fails loudly where it moves:

- ``next_layer`` makes :class:`ServingLayer` where mitmproxy would make ``HttpLayer``; its
  ``make_stream`` makes a :class:`ServingStream` for each request.
- Where the flow carries a body, ``send_response`` sends the head, then loops over a blocking
  hook of our own (a ``StartHook`` has exactly one field) and one ``ResponseData`` each. The
  addon's handler of that hook waits for the client's socket and reads the next chunk, or sends
  it by itself where there is no TLS (``sendfile``).
- A request that is addressed to the proxy itself (origin-form, RFC 9112 section 3.2.1) gets the
  host ``SELF``, since afterwards it looks like one to be forwarded.
- An error that mitmproxy would tell in a page of its own is told in words of ours
  (``failures``), and a request may be refused before its body has come.
- What follows a 101 is a blind tunnel, of which nothing is kept: mitmproxy keeps every message of
  a WebSocket, or of bytes, in the flow. The end of one direction leaves the other open.
- A CONNECT that is to be tunnelled opens its connection at once: an unreachable host is a 502
  there, and protocols in which the server speaks first work. Through an upstream proxy mitmproxy
  would wait for the client's first bytes: :class:`tunnels.Road` opens its tunnel before.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mitmproxy import flow, http
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.net.http import status_codes
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import commands, events, layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode, HttpStream, SendHttp, _events
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._events import (
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook

from entrepot.mitm.layers import error_pages
from entrepot.mitm.layers.error_pages import (
    FAILURE,
    REFUSAL,
    Failure,
    RefusedError,
    status_of,
    understand,
)
from entrepot.mitm.layers.parser_limits import (
    BoundedClient,
    BoundedServer,
    BoundedTLS,
    EndingTLS,
    inside_tls,
)
from entrepot.mitm.layers.tunnel_layer import (
    OVERDUE,
    Road,
    RoadOpened,
    bare,
    below_http,
    is_on_its_way,
    named,
)
from entrepot.protocol.messages import Body

# mitmproxy makes them deep within the layer, where nothing else can be put in their place.
http_layers.Http1Client = BoundedClient  # type: ignore[attr-defined]
http_layers.tls.ServerTLSLayer = EndingTLS  # type: ignore[attr-defined]

SELF = "entrepot.invalid"
"""The host of a request to the proxy itself; ``.invalid`` is nobody's (RFC 6761)."""

BODY = "entrepot.body"
TUNNEL = "entrepot.tunnel"
"""Keys of ``flow.metadata``: a body to send, and that a CONNECT is to be tunnelled."""


@dataclass(slots=True)
class Transfer:
    """A body on its way to a client; ``chunk`` is what to send next."""

    client: Client
    body: Body
    plain: bool = False
    """Whether nothing lies between HTTP and the client's socket."""
    chunk: bytes = b""
    sent: int = 0
    """Bytes that went to the client without coming by here."""
    cut: str | None = None
    """Why the transfer must be broken off, where it must."""

    @property
    def is_over(self) -> bool:
        """Whether the last step brought nothing."""
        return not self.chunk and not self.sent

    def take(self) -> bytes:
        """The next chunk, which is held here no longer: its client may never take it."""
        chunk, self.chunk = self.chunk, b""
        return chunk


@dataclass
class EntrepotChunkHook(commands.StartHook):
    """Ask the addon for the next chunk, once the client has taken the last."""

    transfer: Transfer


class ServingStream(HttpStream):
    """One request and its answer."""

    def state_wait_for_request_headers(self, event: RequestHeaders) -> layer.CommandGenerator[None]:
        """Mark requests to the proxy itself, then go on as mitmproxy does."""
        request = event.request
        to_us = self.mode is not HTTPMode.transparent and not request.host
        if to_us and request.method != "CONNECT":
            request.data.host, request.data.port, request.data.scheme = SELF, 80, b"http"
        yield from super().state_wait_for_request_headers(event)

    def send_response(self, already_streamed: bool = False) -> Iterator[Any]:  # noqa: FBT001, FBT002
        """Send a response, streaming the body that the addon left with the flow."""
        body = self.flow.metadata.pop(BODY, None)
        if body is None:
            yield from super().send_response(already_streamed)
            return
        assert self.flow.response is not None  # noqa: S101 as mitmproxy's own
        head = ResponseHeaders(self.stream_id, self.flow.response, end_stream=False)
        yield SendHttp(head, self.context.client)
        transfer = Transfer(self.context.client, body, plain=not self.context.client.tls)
        try:
            while True:
                yield EntrepotChunkHook(transfer)
                if self._client_has_left() or transfer.cut is not None or transfer.is_over:
                    break
                if transfer.chunk:
                    yield self._next(transfer)  # unnamed: a name would hold it while it waits
        finally:
            body.close()
        if transfer.cut is not None:
            yield from self.handle_protocol_error(_broken_off(self.stream_id, transfer.cut))
        else:
            yield from super().send_response(already_streamed=True)

    def _next(self, transfer: Transfer) -> SendHttp:
        return SendHttp(ResponseData(self.stream_id, transfer.take()), self.context.client)

    def _client_has_left(self) -> bool:
        return any(isinstance(e, RequestProtocolError) for e in self._paused_event_queue)

    def handle_connect_regular(self) -> Iterator[Any]:
        """Open a tunnel's connection at once, so that a failure is an answer to CONNECT."""
        if not self.flow.metadata.get(TUNNEL) or self.flow.response is not None:
            yield from super().handle_connect_regular()  # type: ignore[no-untyped-call]
            return
        problem = yield commands.OpenConnection(self.context.server)
        if problem:
            self._refuse_connect(problem)
        else:
            self.child_layer = layers.TCPLayer(self.context, ignore=True)
        yield from self.handle_connect_finish()  # type: ignore[no-untyped-call]

    def _refuse_connect(self, problem: str) -> None:
        failure = understand(problem)
        reason = named(self.flow, failure.reason)
        self.flow.error = flow.Error(reason)
        self.flow.response = error_pages.text(
            403 if failure.by_us else 502, f"Cannot connect: {reason}"
        )

    def handle_connect_upstream(self) -> Iterator[Any]:
        """The same through the upstream proxy, where the host is to be reached by it."""
        tunnelled = self.flow.metadata.get(TUNNEL) and self.flow.response is None
        if not tunnelled or self.context.server.via is None:
            yield from self.handle_connect_regular()
            return
        self.child_layer = Road(self.context)
        self._handle_event = self._open_road
        yield from self._open_road(events.Start())

    def _open_road(self, event: events.Event) -> Iterator[Any]:
        """Go on with opening a tunnel; the client is answered when that is known."""
        road = self.child_layer
        assert isinstance(road, Road)  # noqa: S101 for the type
        if isinstance(event, HttpEvent):
            return  # the end of CONNECT, or of the client, with whom all its connections end
        for command in road.open() if isinstance(event, events.Start) else road.handle_event(event):
            if not isinstance(command, RoadOpened):
                yield command
                continue
            if command.problem is not None:
                self._refuse_connect(command.problem)
            yield from self.handle_connect_finish()  # type: ignore[no-untyped-call]

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> layer.CommandGenerator[None]:
        """Say in words of ours why upstream gave no answer, or no whole one.

        With a client that has left its server's connections end, which is no failure of theirs.
        """
        is_there = self.context.client.state & ConnectionState.CAN_READ
        if is_there and isinstance(event, ResponseProtocolError) and status_of(event) is not None:
            overdue = Failure(error_pages.NO_TIME, connected=False, slow=True)
            failure = overdue if self.flow.metadata.get(OVERDUE) else understand(event.message)
            if failure.by_proxy or is_on_its_way(self.flow):
                reason = named(self.flow, failure.reason)
                failure = replace(failure, reason=reason, by_proxy=True)
            self.flow.metadata[FAILURE] = failure
            inside = self.mode is HTTPMode.transparent
            answer = error_pages.unanswered(self.flow.request, failure.reason, oci=inside)
            event = RefusedError(self.stream_id, answer, failure.reason)
        yield from super().handle_protocol_error(event)

    def check_killed(self, emit_error_hook: bool) -> layer.CommandGenerator[bool]:  # noqa: FBT001
        """End a flow that was killed; with an answer, where there is one for it."""
        response: http.Response | None = self.flow.metadata.pop(REFUSAL, None)
        if response is None:
            return (yield from super().check_killed(emit_error_hook))
        yield HttpErrorHook(self.flow)
        told = RefusedError(self.stream_id, response, flow.Error.KILLED_MESSAGE)
        yield SendHttp(told, self.context.client)
        self.flow.live = False
        self.client_state = self.server_state = self.state_errored
        return True

    def state_wait_for_response_headers(
        self, event: ResponseHeaders
    ) -> layer.CommandGenerator[None]:
        """Go on with an answer, if it is one that the client may have."""
        problem = self._problem_of(event.response)
        if problem is None:
            yield from super().state_wait_for_response_headers(event)
            return
        code: Any = RequestProtocolError.code
        yield SendHttp(RequestProtocolError(self.stream_id, problem, code), self.context.server)
        code = ResponseProtocolError.code
        yield from self.handle_protocol_error(ResponseProtocolError(self.stream_id, problem, code))

    def _problem_of(self, response: http.Response) -> str | None:
        if response.status_code == 407 and self.flow.server_conn.via is not None:
            return error_pages.NO_PASSAGE  # who is refused by the upstream proxy is not so by us
        if response.status_code == 101 and self.client_state != self.state_done:
            return error_pages.TOO_EARLY  # RFC 9110 section 7.8
        return None

    # Upgrades

    def flow_done(self) -> layer.CommandGenerator[None]:
        """End a flow; after a 101 go on as a blind tunnel."""
        response = self.flow.response
        if response is None or response.status_code != 101:
            yield from super().flow_done()
            return
        self.flow.live = False
        self.child_layer = layers.TCPLayer(self.context, ignore=True)
        self._handle_event = self.passthrough
        yield from self.child_layer.handle_event(events.Start())
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def passthrough(self, event: events.Event) -> Iterator[Any]:
        """Relay bytes; unlike mitmproxy's, the end of one direction is not that of the other."""
        assert self.child_layer is not None and self.flow.response is not None  # noqa: S101, PT018
        # After CONNECT a server's connection is the child's own; after a 101 it is HTTP's.
        server = self.context.server if self.flow.response.status_code == 101 else None
        inner = bare(event, self.context.client, self.context.server)
        for command in self.child_layer.handle_event(inner):
            yield below_http(command, self.stream_id, server)


class ServingLayer(HttpLayer):
    """HTTP on one connection, with streams that can send a body."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            inside = self.mode is HTTPMode.transparent
            self.connections[self.context.client] = BoundedServer(self.context.fork(), oci=inside)
        yield from super()._handle_event(event)

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        """Make a :class:`ServingStream`, otherwise as mitmproxy does."""
        stream = ServingStream(self.context.fork(), stream_id)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())


def choose_layer(context: Context, data: bytes, *, tunnel: bool) -> layer.Layer | None:
    """The layer for a connection's next bytes; None to let mitmproxy choose."""
    above = context.layers
    if len(above) == 1 and isinstance(above[0], modes.HttpProxy | modes.HttpUpstreamProxy):
        upstream = isinstance(above[0], modes.HttpUpstreamProxy)
        mode = HTTPMode.upstream if upstream else HTTPMode.regular
        if not starts_like_tls_record(data):
            return ServingLayer(context, mode)
        secured = BoundedTLS(context)
        secured.child_layer = ServingLayer(context, mode)
        return secured
    if len(above) == 1 and isinstance(above[0], modes.ReverseProxy):
        return ServingLayer(context, HTTPMode.transparent)  # a mirror, which has no TLS
    if tunnel:
        return layers.TCPLayer(context, ignore=True)
    if isinstance(above[-1], BoundedTLS) or not starts_like_tls_record(data):
        return ServingLayer(context, HTTPMode.transparent)
    return inside_tls(context)


def _broken_off(stream_id: int, reason: str) -> ResponseProtocolError:
    """An event that closes the client's connection without an error page after the head."""
    codes = getattr(_events, "ErrorCode", None)  # mitmproxy 11 has plain statuses
    code: Any = status_codes.NO_RESPONSE if codes is None else codes.KILL
    return ResponseProtocolError(stream_id, reason, code)

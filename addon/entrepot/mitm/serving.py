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
- A CONNECT that is to be tunnelled opens its connection at once: an unreachable host is a 502
  there, and protocols in which the server speaks first work. Through an upstream proxy mitmproxy
  would wait for the client's first bytes: :class:`tunnels.Road` opens its tunnel before.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mitmproxy import flow, http
from mitmproxy.connection import Client
from mitmproxy.net.http import status_codes
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import commands, events, layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode, HttpStream, SendHttp, _events
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._events import (
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseHeaders,
    ResponseProtocolError,
)

from entrepot.message import Body
from entrepot.mitm.limits import BoundedServer, BoundedTLS, inside_tls
from entrepot.mitm.tunnels import Road, RoadOpened, is_on_its_way, named

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
        self.flow.error = flow.Error(problem)
        self.flow.response = http.Response.make(502, f"Cannot connect: {problem}\n")

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
                self._refuse_connect(named(self.flow, command.problem))
            yield from self.handle_connect_finish()  # type: ignore[no-untyped-call]

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> layer.CommandGenerator[None]:
        """Say of an upstream proxy that does not lead on that it is one."""
        failed = isinstance(event, ResponseProtocolError) and self.flow.response is None
        if failed and is_on_its_way(self.flow):
            event = replace(event, message=named(self.flow, event.message))
        yield from super().handle_protocol_error(event)


class ServingLayer(HttpLayer):
    """HTTP on one connection, with streams that can send a body."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            self.connections[self.context.client] = BoundedServer(self.context.fork())
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

"""mitmproxy's HTTP layer with what a cache needs: the layer, and the stream of each request.

- A body that the addon left with the flow is sent in band (``sending.chunk_loop``).
- A request that is addressed to the proxy itself (origin-form, RFC 9112 section 3.2.1) gets the
  host ``SELF``, since afterwards it looks like one to be forwarded.
- A CONNECT that is to be tunnelled opens its connection at once: an unreachable host is a 502
  there, and protocols in which the server speaks first work (``connect_tunnel``).
- An error that mitmproxy would tell in a page of its own is told in words of ours
  (``error_pages``), and a request may be refused before its body has come.
- What follows a 101 is a blind tunnel, of which nothing is kept (``upgrade``).

How it hangs in mitmproxy 11.0 to 12.3, all of it internal and covered by ``tests/wire``, which
fails loudly where it moves: ``next_layer`` makes :class:`EntrepotHttpLayer` where mitmproxy would
make ``HttpLayer``; its ``make_stream`` makes an :class:`EntrepotHttpStream` for each request.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mitmproxy import flow, http
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, layer, layers
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode, HttpStream, SendHttp
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._events import (
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook, HttpRequestHeadersHook
from mitmproxy.proxy.mode_specs import ReverseMode

from entrepot.mitm.layers import error_pages
from entrepot.mitm.layers.connect_tunnel import (
    OVERDUE,
    TUNNEL,
    ProxiedTunnel,
    TunnelOpened,
    naming_proxy,
    waits_for_proxy,
)
from entrepot.mitm.layers.error_pages import REFUSAL, RefusedError, unanswered
from entrepot.mitm.layers.http1_limits import BoundedHttp1Client, BoundedHttp1Server
from entrepot.mitm.layers.mitmproxy_errors import (
    FAILURE,
    NO_PASSAGE,
    NO_TIME,
    TOO_EARLY,
    Failure,
    status_of,
    understand,
)
from entrepot.mitm.layers.tls_limits import EndingServerTLS
from entrepot.mitm.layers.upgrade import below_http, by_http
from entrepot.mitm.sending.chunk_loop import BODY, SENT, broken_off, send_chunks

# mitmproxy makes them deep within the layer, where nothing else can be put in their place.
http_layers.Http1Client = BoundedHttp1Client  # type: ignore[attr-defined]
http_layers.tls.ServerTLSLayer = EndingServerTLS  # type: ignore[attr-defined]

SELF = "entrepot.invalid"
"""The host of a request to the proxy itself; ``.invalid`` is nobody's (RFC 6761)."""


def address_to_self(request: http.Request) -> None:
    """Make a request one to the proxy itself; its ``Host`` stays as the client wrote it."""
    request.data.host, request.data.port, request.data.scheme = SELF, 80, b"http"


class EntrepotHttpStream(HttpStream):
    """One request and its answer, or a CONNECT and what goes through it."""

    def state_wait_for_request_headers(self, event: RequestHeaders) -> layer.CommandGenerator[None]:
        """Mark requests to the proxy itself, then go on as mitmproxy does."""
        request = event.request
        to_us = self.mode is not HTTPMode.transparent and not request.host
        if to_us and request.method != "CONNECT":
            address_to_self(request)
        yield from super().state_wait_for_request_headers(event)

    def send_response(self, already_streamed: bool = False) -> Iterator[Any]:  # noqa: FBT001, FBT002
        """Send a response, in band where the addon left a body with the flow."""
        body = self.flow.metadata.pop(BODY, None)
        if body is None:
            yield from super().send_response(already_streamed)
            return
        cut = yield from send_chunks(self, body)
        if cut is not None:
            yield from self.handle_protocol_error(broken_off(self.stream_id, cut))
        else:
            yield from super().send_response(already_streamed=True)

    # CONNECT

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
        reason = naming_proxy(self.flow, failure.reason)
        self.flow.error = flow.Error(reason)
        self.flow.response = error_pages.text(
            403 if failure.by_us else 502, f"Cannot connect: {reason}"
        )

    def handle_connect_upstream(self) -> Iterator[Any]:
        """Open it through the upstream proxy, where the host is to be reached by that."""
        tunnelled = self.flow.metadata.get(TUNNEL) and self.flow.response is None
        if not tunnelled or self.context.server.via is None:
            yield from self.handle_connect_regular()
            return
        self.child_layer = ProxiedTunnel(self.context)
        self._handle_event = self._open_proxied_tunnel
        yield from self._open_proxied_tunnel(events.Start())

    def _open_proxied_tunnel(self, event: events.Event) -> Iterator[Any]:
        """Go on with opening a tunnel; the client is answered when that is known."""
        tunnel = self.child_layer
        assert isinstance(tunnel, ProxiedTunnel)  # noqa: S101 for the type
        if isinstance(event, HttpEvent):
            return  # the end of CONNECT, or of the client, with whom all its connections end
        for command in (
            tunnel.open() if isinstance(event, events.Start) else tunnel.handle_event(event)
        ):
            if not isinstance(command, TunnelOpened):
                yield command
                continue
            if command.problem is not None:
                self._refuse_connect(command.problem)
            yield from self.handle_connect_finish()  # type: ignore[no-untyped-call]

    # Errors, in words of ours

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> layer.CommandGenerator[None]:
        """Say in words of ours why upstream gave no answer, or no whole one.

        With a client that has left its server's connections end, which is no failure of theirs.
        """
        is_there = self.context.client.state & ConnectionState.CAN_READ
        if is_there and isinstance(event, ResponseProtocolError) and status_of(event) is not None:
            overdue = Failure(NO_TIME, connected=False, slow=True)
            failure = overdue if self.flow.metadata.get(OVERDUE) else understand(event.message)
            if failure.by_proxy or waits_for_proxy(self.flow):
                reason = naming_proxy(self.flow, failure.reason)
                failure = replace(failure, reason=reason, by_proxy=True)
            self.flow.metadata[FAILURE] = failure
            inside = self.mode is HTTPMode.transparent
            answer = unanswered(self.flow.request, failure.reason, oci=inside)
            event = RefusedError(self.stream_id, answer, failure.reason)
        yield from super().handle_protocol_error(event)

    def check_invalid(self, request: bool) -> layer.CommandGenerator[bool]:  # noqa: FBT001
        """Ask the addon about a CONNECT to a mirror, before mitmproxy refuses it."""
        at_mirror = isinstance(self.context.client.proxy_mode, ReverseMode)
        if request and at_mirror and self.flow.request.method == "CONNECT":
            yield HttpRequestHeadersHook(self.flow)
            if (yield from self.check_killed(True)):  # noqa: FBT003 that is how it is declared
                return True
        return (yield from super().check_invalid(request))

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
            return NO_PASSAGE  # who is refused by the upstream proxy is not so by us
        if response.status_code == 101 and self.client_state != self.state_done:
            return TOO_EARLY  # RFC 9110 section 7.8
        return None

    def state_stream_response_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Pass on a body, and count its bytes."""
        if isinstance(event, ResponseData):
            self._count(len(event.data))
        yield from super().state_stream_response_body(event)

    def _count(self, sent: int) -> None:
        self.flow.metadata[SENT] = self.flow.metadata.get(SENT, 0) + sent

    # What follows a 101, and what goes through a CONNECT

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
        client = self.context.client
        inner = below_http(event, client, self.context.server)
        for command in self.child_layer.handle_event(inner):
            if isinstance(command, commands.SendData) and command.connection is client:
                self._count(len(command.data))
            yield by_http(command, self.stream_id, server)


class EntrepotHttpLayer(HttpLayer):
    """HTTP on a client's connection, and on those to servers for it."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            inside = self.mode is HTTPMode.transparent
            self.connections[self.context.client] = BoundedHttp1Server(
                self.context.fork(), oci=inside
            )
        yield from super()._handle_event(event)

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        """Make an :class:`EntrepotHttpStream`, otherwise as mitmproxy does."""
        stream = EntrepotHttpStream(self.context.fork(), stream_id)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

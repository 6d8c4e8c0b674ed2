"""Hooks of what passes through: it streams, and the proxy learns from it.

A challenge names a token server; an accepted PUT or DELETE makes something untrue; a registry that
answers is there, and one that does not is told of as where the proxy asks by itself.
"""

import asyncio
from typing import Any

from mitmproxy import connection, ctx, http, tls
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from entrepot.events.table import Event
from entrepot.http_client.response import UpstreamError
from entrepot.mitm.hooks.requests import ANSWERED, NOTE, Note, Way
from entrepot.mitm.layers import translate
from entrepot.mitm.layers.error_pages import FAILURE, Failure, understand
from entrepot.mitm.layers.tunnel_layer import OVERDUE
from entrepot.mitm.lifecycle import Running
from entrepot.protocol import cache_status
from entrepot.protocol.routes import Blob, Manifest


class Passing:
    """Watches responses that are not ours, and what becomes of the requests for them."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._opening = Opening(running)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Bound the time for a connection to the registry."""
        if _passed(flow) is not None:
            self._opening.expect(flow)

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream what passes through, and learn from it."""
        response = flow.response
        if response is None or ANSWERED in flow.metadata:
            return
        response.stream = True
        note: Note | None = flow.metadata.get(NOTE)
        if note is None:
            return
        response.headers.add(*cache_status.bypass(note.endpoint.detail))
        parts, request = self._running.parts(), note.request
        parts.context.health.answered(request.origin)
        if response.status_code == 401:
            challenges = response.headers.get_all("www-authenticate")
            parts.logins.challenged(request.origin, challenges, translate.fields_of(flow.request))
            parts.interception.sent(request.client, request.origin, challenges)
        if 200 <= response.status_code < 300 and isinstance(note.endpoint, Blob | Manifest):
            await parts.cache.changed(request.method, request, note.endpoint)

    def error(self, flow: http.HTTPFlow) -> None:
        """Say that upstream gave no answer, or no whole one; not that a client has left."""
        self._opening.forget(flow.client_conn)
        note, failure = _passed(flow), _failure_of(flow)
        if note is None or failure is None:
            return
        parts, origin = self._running.parts(), note.request.origin
        parts.events.log(
            Event.UPSTREAM_FAILED, url=f"{origin}{note.request.path}", reason=failure.reason
        )
        if flow.response is None and not failure.by_us:
            error = UpstreamError(
                f"{origin}: {failure.reason}",
                silent=origin,
                connected=failure.connected,
                slow=failure.slow,
            )
            parts.context.health.failed(error)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Begin to count the time for a connection."""
        self._opening.begin(data.client, data.server)

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """A connection is there, though perhaps not its TLS."""
        if not data.server.tls:
            self._opening.forget(data.client)

    def tls_established_server(self, data: tls.TlsData) -> None:
        """A connection is there."""
        self._opening.forget(data.context.client)

    def response(self, flow: http.HTTPFlow) -> None:
        """Expect no further connection."""
        self._opening.forget(flow.client_conn)

    def client_disconnected(self, client: connection.Client) -> None:
        """Wait for nothing more."""
        self._opening.forget(client)


class Opening:
    """Gives up connections to registries that are not made in time, as our own fetches do.

    mitmproxy waits for as long as the kernel does, two minutes. Those through an upstream proxy
    have another limit (``roads``), and tunnels are left as they are.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self._expected: dict[str, http.HTTPFlow] = {}
        self._deadlines: dict[str, asyncio.TimerHandle] = {}

    def expect(self, flow: http.HTTPFlow) -> None:
        """The next connection of this client's is one to a registry."""
        self._expected[flow.client_conn.id] = flow

    def begin(self, client: connection.Client, server: connection.Server) -> None:
        """Start the clock."""
        flow = self._expected.get(client.id)
        if flow is None or server.via is not None or flow.server_conn.via is not None:
            return
        seconds = self._running.parts().foundation.config.connect_timeout
        timer = asyncio.get_running_loop().call_later(seconds, _give_up, flow, server)
        self._deadlines[client.id] = timer

    def forget(self, client: connection.Client) -> None:
        """Stop it."""
        self._expected.pop(client.id, None)
        if timer := self._deadlines.pop(client.id, None):
            timer.cancel()


def _give_up(flow: http.HTTPFlow, server: connection.Server) -> None:
    handler: Any = ctx.master.addons.get("proxyserver").connections.get(flow.client_conn.id)
    io = handler.transports.get(server) if handler is not None else None
    if io is not None and io.handler is not None:
        flow.metadata[OVERDUE] = True
        io.handler.cancel("no answer in time")


def _passed(flow: http.HTTPFlow) -> Note | None:
    """The note of a flow that passes through to a registry."""
    note: Note | None = flow.metadata.get(NOTE)
    return note if note is not None and note.way is Way.PASS else None


def _failure_of(flow: http.HTTPFlow) -> Failure | None:
    """Why upstream failed; None where it did not."""
    failure: Failure | None = flow.metadata.get(FAILURE)
    if failure is not None or flow.error is None:
        return failure
    refused = "from server, refusing" in flow.error.msg  # mitmproxy goes another way with these
    return understand(flow.error.msg) if refused else None

"""The connect timeout of requests that pass through to a registry, as our own fetches have it.

By itself mitmproxy waits for as long as the kernel does, two minutes. Connections through an
upstream proxy have another limit (``upstream_proxy``), and tunnels are left as they are.
"""

import asyncio
from typing import Any

from mitmproxy import connection, ctx, http, tls
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from entrepot.mitm.hooks.classify_request import passing
from entrepot.mitm.layers.connect_tunnel import OVERDUE
from entrepot.mitm.state import ProxyState


class ConnectTimeout:
    """Gives up a connection that is not made within ``--connect-timeout``.

    Comes after ``Requests``, which says what passes through.
    """

    def __init__(self, state: ProxyState) -> None:
        self._state = state
        self._expected: dict[str, http.HTTPFlow] = {}
        self._deadlines: dict[str, asyncio.TimerHandle] = {}

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Take the next connection for this client for one to a registry."""
        if passing(flow) is not None:
            self._expected[flow.client_conn.id] = flow

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Start the clock."""
        flow = self._expected.get(data.client.id)
        if flow is None or data.server.via is not None or flow.server_conn.via is not None:
            return
        seconds = self._state.parts().foundation.config.connect_timeout
        timer = asyncio.get_running_loop().call_later(seconds, _give_up, flow, data.server)
        self._deadlines[data.client.id] = timer

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Stop the clock, unless TLS is still to come."""
        if not data.server.tls:
            self._stop(data.client)

    def tls_established_server(self, data: tls.TlsData) -> None:
        """Stop the clock: the connection is made."""
        self._stop(data.context.client)

    def response(self, flow: http.HTTPFlow) -> None:
        """Expect no further connection."""
        self._stop(flow.client_conn)

    def error(self, flow: http.HTTPFlow) -> None:
        """Expect no further connection: there is no answer, or no whole one."""
        self._stop(flow.client_conn)

    def client_disconnected(self, client: connection.Client) -> None:
        """Forget a client that has left."""
        self._stop(client)

    def _stop(self, client: connection.Client) -> None:
        self._expected.pop(client.id, None)
        if timer := self._deadlines.pop(client.id, None):
            timer.cancel()


def _give_up(flow: http.HTTPFlow, server: connection.Server) -> None:
    handler: Any = ctx.master.addons.get("proxyserver").connections.get(flow.client_conn.id)
    io = handler.transports.get(server) if handler is not None else None
    if io is not None and io.handler is not None:
        flow.metadata[OVERDUE] = True
        io.handler.cancel("no answer in time")

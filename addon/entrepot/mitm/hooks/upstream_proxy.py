"""The corporate proxy upstream: which of mitmproxy's connections go through it, and as whom.

What passes through and what is tunnelled goes by the same NO_PROXY as our own fetches. mitmproxy
decides by ``server_conn.via`` when it opens a connection, so each request sets it anew. The
credentials go into CONNECT and into requests in absolute-form, never further than that proxy.
"""

import asyncio
from typing import Any

from mitmproxy import connection, ctx, http
from mitmproxy.net.server_spec import ServerSpec

from entrepot.app.composition import Engine
from entrepot.config.no_proxy import is_direct
from entrepot.events.table import Event
from entrepot.mitm.layers import error_pages
from entrepot.mitm.layers.connect_tunnel import OVERDUE, TUNNEL, waits_for_proxy
from entrepot.mitm.layers.mitmproxy_errors import FAILURE, Failure
from entrepot.mitm.state import ProxyState, client_of
from entrepot.protocol.identifiers import bracketed

CONNECT_FACTOR = 10
"""How many times ``--connect-timeout`` the upstream proxy may take to open a tunnel, since it
tries the addresses of a host in turn; mitmproxy itself would wait for ever."""

_QUIET_SECONDS = 60.0
_LOOP = "the upstream proxy leads back here"


def way_to(parts: Engine, host: str, port: int) -> ServerSpec | None:
    """The upstream proxy, where a host is to be reached through it."""
    proxy = parts.proxy
    if proxy is None or is_direct(parts.foundation.config.no_proxy, host, port):
        return None
    place = ProxyPlace((proxy.host, proxy.port))
    return ("https" if proxy.scheme == "https" else "http", place)


class ProxyPlace(tuple[str, int]):
    """Where the upstream proxy is: connected to on the administrator's word, not on a client's.

    A client may name the same host and port; mitmproxy keeps of a connection no more than this.
    """

    __slots__ = ()


class ProxyLoops:
    """Breaks loops: refuses what the upstream proxy sends back to us. Comes before all others."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Refuse a CONNECT of our own."""
        if self._is_ours(flow):
            flow.response = error_pages.text(508, _LOOP)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse a request of our own."""
        if self._is_ours(flow):
            error_pages.refuse(flow, error_pages.refusal(508, _LOOP, flow.request, oci=False))

    def _is_ours(self, flow: http.HTTPFlow) -> bool:
        if self._state.engine is None or self._state.parts().proxy is None:
            return False
        own = self._state.parts().via
        return any(own in value for value in flow.request.headers.get_all("via"))


class UpstreamProxyRoute:
    """Sends flows by the upstream proxy or past it; comes after ``Requests``, which may answer."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._said: dict[str, float] = {}

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Choose for a CONNECT."""
        if not self._is_settled(flow):
            self._choose(flow)
            if flow.metadata.get(TUNNEL):
                self._limit(flow)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Choose for a request that passes through, and show the proxy who asks."""
        if self._is_settled(flow):
            return
        is_outer = flow.server_conn.address is None  # not inside of a CONNECT
        self._choose(flow)
        if flow.server_conn.via is None or flow.request.scheme != "http":
            flow.request.authority = ""  # as where there is no upstream proxy
        elif is_outer:
            self._identify(flow.request)
        if flow.request.stream:
            self._limit(flow)

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """Finish a CONNECT to the upstream proxy."""
        request = flow.request
        request.authority = f"{bracketed(request.host)}:{request.port}"
        request.headers["Host"] = request.authority
        self._identify(request)

    def _is_settled(self, flow: http.HTTPFlow) -> bool:
        """Whether nothing is to be chosen: there is an answer, or no upstream proxy."""
        if self._state.engine is None or self._state.parts().proxy is None:
            return True
        return flow.error is not None or flow.response is not None

    def _choose(self, flow: http.HTTPFlow) -> None:
        flow.server_conn.via = way_to(self._state.parts(), flow.request.host, flow.request.port)

    def _identify(self, request: http.Request) -> None:
        parts = self._state.parts()
        request.headers["Via"] = parts.via
        if parts.proxy is not None and parts.proxy.authorization is not None:
            request.headers["Proxy-Authorization"] = parts.proxy.authorization

    # An upstream proxy that fails

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stop the clock: the upstream proxy has led on."""
        self._settle(flow.client_conn)

    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Stop the clock of a tunnel."""
        self._settle(flow.client_conn)

    def http_connect_error(self, flow: http.HTTPFlow) -> None:
        """Log why a tunnel was not opened."""
        self.error(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Log why the upstream proxy did not lead on."""
        waited = self._settle(flow.client_conn)
        failure: Failure | None = flow.metadata.get(FAILURE)
        refused = failure is not None and failure.by_proxy
        if flow.error is not None and (refused or (waited and waits_for_proxy(flow))):
            self._complain(flow, flow.error.msg)

    def client_disconnected(self, client: connection.Client) -> None:
        """Forget a client that has left."""
        self._settle(client)

    def _limit(self, flow: http.HTTPFlow) -> None:
        if flow.server_conn.via is None:
            return
        seconds = CONNECT_FACTOR * self._state.parts().foundation.config.connect_timeout
        self._settle(flow.client_conn)
        timer = asyncio.get_running_loop().call_later(seconds, _give_up, flow)
        self._deadlines[flow.client_conn.id] = timer

    def _settle(self, client: connection.Client) -> bool:
        """Stop the clock; whether it ran."""
        timer = self._deadlines.pop(client.id, None)
        if timer is not None:
            timer.cancel()
        return timer is not None

    def _complain(self, flow: http.HTTPFlow, reason: str) -> None:
        """Log a reason once a minute: every connection through a dead proxy has the same one."""
        events, now = self._state.parts().events, asyncio.get_running_loop().time()
        self._said = {said: at for said, at in self._said.items() if now < at + _QUIET_SECONDS}
        if reason in self._said:
            events.count(Event.UPSTREAM_PROXY_FAILED)
            return
        self._said[reason] = now
        events.log(
            Event.UPSTREAM_PROXY_FAILED,
            client=client_of(flow.client_conn),
            host=f"{bracketed(flow.request.host)}:{flow.request.port}",
            reason=reason,
        )


def _give_up(flow: http.HTTPFlow) -> None:
    """End what a client's request waits for, where that is still the upstream proxy's tunnel."""
    handler: Any = ctx.master.addons.get("proxyserver").connections.get(flow.client_conn.id)
    if handler is None or not waits_for_proxy(flow):
        return
    flow.metadata[OVERDUE] = True
    for conn, io in handler.transports.items():
        if conn is not flow.client_conn and io.handler is not None:
            io.handler.cancel("no answer in time")

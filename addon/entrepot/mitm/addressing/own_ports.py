"""Requests for this process itself: in absolute-form, or at one of its ports that is another's.

Who sets ``http_proxy`` asks for the proxy's own pages by way of the proxy (absolute-form, RFC 9112
section 3.2.2). They are answered here, as if asked without it: a connection to itself would show
the proxy's own address as the client's, and is never made (``hooks.ssrf_boundary``).

Each port is for one thing: a mirror is no proxy, the proxy no registry. Clients that take one for
the other would hear no more than «Bad Request», and pull past the cache.
"""

import asyncio
import contextlib

from mitmproxy import connection, http
from mitmproxy.net.http import url
from mitmproxy.proxy.mode_specs import RegularMode, ReverseMode, UpstreamMode

from entrepot.bounded_map import BoundedMap
from entrepot.events.table import Event
from entrepot.mitm import translate
from entrepot.mitm.state import ProxyState, client_of
from entrepot.protocol.messages import Answer, error_answer
from entrepot.protocol.network_reach import literal

_MOST_NAMED = 1000
_NO_PROXY = "this port is a mirror, no proxy"
_NO_REGISTRY = "this port is a proxy, no registry"


async def is_to_itself(state: ProxyState, client: connection.Client, host: str, port: int) -> bool:
    """Whether a place that a client names is the one to which it has connected here.

    The port says it nearly always, so that seldom a name has to be resolved. For a client on
    another machine no loopback address is: it means its own machine.
    """
    own_modes = RegularMode | UpstreamMode | ReverseMode
    if state.engine is None or not isinstance(client.proxy_mode, own_modes):
        return False
    if client.sockname is None or client.sockname[1] != port:
        return False
    destinations = state.engine.destinations
    reach = destinations.named_by_client(host, port, client_of(client))
    addresses = [host]
    if literal(host) is None:
        addresses = await _resolve(host, port, state.engine.foundation.config.connect_timeout)
    with contextlib.suppress(OSError):  # no descriptor is left to find it out
        return any(destinations.is_here(reach, address, port) for address in addresses)
    return False


async def _resolve(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a host; none where they are not known in time."""
    with contextlib.suppress(OSError, UnicodeError, TimeoutError):
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, port)
            return [str(address[0]) for *_, address in found]
    return []


class MistakenPorts:
    """Tells clients, and the administrator once of each, that they ask the wrong port."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state
        self._named: BoundedMap[str, None] = BoundedMap(_MOST_NAMED)

    async def refusal(self, flow: http.HTTPFlow) -> Answer | None:
        """What a client gets that uses a mirror as its proxy; None where it does not."""
        target = flow.request.authority  # of CONNECT, or of absolute-form
        if not target or not translate.is_to_a_mirror(flow):
            return None
        with contextlib.suppress(ValueError):
            host, port = url.parse_authority(target, check=True)
            own = await is_to_itself(self._state, flow.client_conn, host, port or 80)
            if own and flow.request.method != "CONNECT":
                return None
        hint = f"use {self._proxy_port()} as the proxy"
        self._log(flow.client_conn, _NO_PROXY, hint)
        return error_answer(421, "UNSUPPORTED", f"{_NO_PROXY}: {hint}")

    def no_registry(self, client: connection.Client) -> Answer:
        """What a client gets that uses the proxy as a mirror."""
        hint = "use the port of a --mirror as a registry; or HTTPS_PROXY, and images' own names"
        self._log(client, _NO_REGISTRY, hint)
        return error_answer(404, "NOT_FOUND", f"{_NO_REGISTRY}: {hint}")

    def _proxy_port(self) -> str:
        port = self._state.proxy_port
        return "the port of --listen" if port is None else f"port {port}"

    def _log(self, conn: connection.Client, reason: str, hint: str) -> None:
        client, events = client_of(conn), self._state.events()
        if client in self._named:
            events.count(Event.PORT_MISTAKEN)
            return
        self._named.put(client, None)
        events.log(Event.PORT_MISTAKEN, client=client, reason=reason, hint=hint)

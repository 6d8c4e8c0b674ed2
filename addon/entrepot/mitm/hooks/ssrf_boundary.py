"""The SSRF boundary: no client gets where its own address could not, nor back to the proxy.

It is the address that counts, not how it is written (``http_client.connect.ssrf_guard``). So it is
decided where mitmproxy connects a socket to an address that was resolved. The hook before that says
who named the place; both run in the task that opens the connection. What can be known before, since
a client writes an address or the answer is in the cache already, is refused before anything is
asked.
"""

import asyncio
import socket
from contextvars import ContextVar
from typing import Any

from mitmproxy import connection, http
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from entrepot.events.table import Event
from entrepot.http_client.connect.ssrf_guard import Destinations
from entrepot.mitm import translate
from entrepot.mitm.addressing.own_ports import is_to_itself
from entrepot.mitm.hooks.upstream_proxy import ProxyPlace, way_to
from entrepot.mitm.layers.http_layer import SELF, address_to_self
from entrepot.mitm.layers.mitmproxy_errors import NOT_LED, understand
from entrepot.mitm.state import ProxyState, client_of
from entrepot.protocol.identifiers import bracketed
from entrepot.protocol.messages import Answer, error_answer
from entrepot.protocol.network_reach import Reach

_reach: ContextVar[Reach] = ContextVar("entrepot.reach", default=Reach.ANYWHERE)
"""How far the connection may lead that this task opens."""


def guard(loop: asyncio.AbstractEventLoop, destinations: Destinations) -> None:
    """Let ``loop`` connect to no address that is refused to whoever named it."""
    original = loop.sock_connect

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            why = destinations.refusal(_reach.get(), str(address[0]), address[1])
            if why is not None:
                raise OSError(f"{NOT_LED}: {why}")
        await original(sock, address)

    loop.sock_connect = sock_connect  # type: ignore[method-assign]


class SsrfBoundary:
    """Refuses destinations; comes before all hooks that would ask there."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Refuse a CONNECT before its host is asked whether it is a registry."""
        self._foresee(flow)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse a request, whatever is held here of what it asks for; not one for our own pages.

        That is answered here, whether the client names us as it would a web server, or another one
        to be asked through a proxy.
        """
        request = flow.request
        if request.host == SELF or translate.is_to_a_mirror(flow):
            return
        if request.scheme == "http" and flow.error is None:
            client = flow.client_conn
            if await is_to_itself(self._state, client, request.host, request.port):
                address_to_self(request)
                return
        self._foresee(flow)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Note for the task that opens this connection who named its destination."""
        address = data.server.address
        if self._state.engine is None or address is None or isinstance(address, ProxyPlace):
            return
        destinations = self._state.engine.destinations
        _reach.set(destinations.named_by_client(address[0], address[1], client_of(data.client)))

    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        """Log that a connection was refused."""
        address, reason = data.server.address, understand(data.server.error or "").reason
        if address is not None and NOT_LED in reason:
            why = reason.removeprefix(f"{NOT_LED}: ")
            log_refusal(self._state, data.client, address[0], address[1], why)

    def _foresee(self, flow: http.HTTPFlow) -> None:
        if self._state.engine is None or flow.response is not None or flow.error is not None:
            return
        host, port = flow.request.host, flow.request.port
        why = why_refused(self._state, flow.client_conn, host, port)
        if why is not None:
            log_refusal(self._state, flow.client_conn, host, port, why)
            translate.put_answer(flow, forbidden(why))


def why_refused(state: ProxyState, client: connection.Client, host: str, port: int) -> str | None:
    """Why a destination is refused to a client, as far as that is known before it is resolved."""
    parts = state.parts()
    reach = parts.destinations.named_by_client(host, port, client_of(client))
    elsewhere = way_to(parts, host, port) is not None
    return parts.destinations.foreseen(reach, host, port, elsewhere=elsewhere)


def log_refusal(
    state: ProxyState, client: connection.Client, host: str, port: int, why: str
) -> None:
    """Log that a destination was refused to a client."""
    place = f"{bracketed(host)}:{port}"
    state.parts().events.log(
        Event.DESTINATION_REFUSED, client=client_of(client), host=place, reason=why
    )


def forbidden(why: object) -> Answer:
    """The 403 for a client whose destination is refused."""
    return error_answer(403, "DENIED", f"{NOT_LED}: {why}")

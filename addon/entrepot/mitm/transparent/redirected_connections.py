"""Which redirected connections are intercepted: those whose client names a registry."""

import contextlib
import socket
from ipaddress import ip_address
from typing import Any, TypeAlias

from mitmproxy import connection, ctx, platform
from mitmproxy.proxy import mode_specs
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from entrepot.events.table import Event
from entrepot.mitm.hooks.ssrf_boundary import log_refusal, why_refused
from entrepot.mitm.hooks.upstream_proxy import way_to
from entrepot.mitm.layers.mitmproxy_errors import NOT_LED
from entrepot.mitm.layers.request_head import Refusal
from entrepot.mitm.recording.subject import UNTRUSTING
from entrepot.mitm.restart.drain import STOPPING, Drain
from entrepot.mitm.state import ProxyState, client_of
from entrepot.mitm.transparent.first_bytes import Unclear, fingerprint
from entrepot.mitm.transparent.redirected_layer import RedirectedConnection
from entrepot.protocol.identifiers import Origin, bracketed

_Place: TypeAlias = tuple[str, int]


class TransparentIntercept:
    """Decides what becomes of a redirected connection: intercept, tunnel, or refuse."""

    def __init__(self, state: ProxyState, drain: Drain) -> None:
        self._state = state
        self._drain = drain
        self._outgoing: set[tuple[_Place, _Place]] = set()
        """Both ends, ours first, of the connections that mitmproxy has made to others."""

    def running(self) -> None:
        """Take a connection that nobody redirected for one to ourselves.

        The kernel knows no original address of it, where it tracks no connections at all, and
        mitmproxy would close each with a line of its own.
        """
        engine, original = self._state.engine, platform.original_addr
        if engine is None or engine.foundation.config.transparent is None:
            return

        def original_or_own(client: socket.socket) -> _Place:
            with contextlib.suppress(OSError):
                if original is not None:
                    return original(client)
            return _place(client.getsockname())

        platform.original_addr = original_or_own

    def client_connected(self, client: connection.Client) -> None:
        """Put our layer where mitmproxy's own would be."""
        if isinstance(client.proxy_mode, mode_specs.TransparentMode):
            handler = ctx.master.addons.get("proxyserver").connections[client.id]
            came_in_at = handler.transports[client].writer.get_extra_info("sockname")
            handler.layer = RedirectedConnection(handler.layer.context, _place(came_in_at))

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Remember a connection of our own: it must not come back to us."""
        if data.server.sockname is not None and data.server.peername is not None:
            self._outgoing.add((_place(data.server.sockname), _place(data.server.peername)))

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        """Forget it."""
        if data.server.sockname is not None and data.server.peername is not None:
            self._outgoing.discard((_place(data.server.sockname), _place(data.server.peername)))

    def _is_ours(self, client: _Place, destination: _Place) -> bool:
        """Whether it is we who connected there; scripts/redirect.sh hides this machine's address.

        There is one connection at a time from one port of this machine to one place.
        """
        if not ip_address(client[0].partition("%")[0]).is_loopback:
            return (client, destination) in self._outgoing
        return any((ours[1], to) == (client[1], destination) for ours, to in self._outgoing)

    async def entrepot_redirected(self, redirected: RedirectedConnection) -> None:
        """Decide; whatever goes wrong means a tunnel (promise 4)."""
        redirected.refusal = self._refusal(redirected)
        if redirected.refusal is None and not isinstance(redirected.wanted, Unclear):
            redirected.registry = await self._registry(redirected.wanted, redirected)
        server = redirected.context.server
        server.via = way_to(self._state.parts(), *_place(redirected.destination))

    def _refusal(self, redirected: RedirectedConnection) -> Refusal | None:
        client, destination = redirected.context.client, _place(redirected.destination)
        if self._drain.refuses(client):
            return Refusal(503, STOPPING)
        refusal = self._state.parts().admission.refusal(client_of(client))
        if refusal is not None:
            return Refusal(403, refusal)
        if destination == redirected.came_in_at:
            self._state.parts().events.log(Event.REDIRECT_MISSING, client=client_of(client))
            return Refusal(421, "this port is for what scripts/redirect.sh redirects to it")
        why = why_refused(self._state, client, *destination)
        if why is not None:
            log_refusal(self._state, client, *destination, why)
            return Refusal(403, f"{NOT_LED}: {why}")
        if client.peername is not None and self._is_ours(_place(client.peername), destination):
            self._state.parts().events.log(
                Event.REDIRECT_LOOPED,
                host=f"{bracketed(destination[0])}:{destination[1]}",
                hint="exempt the proxy's user from the redirect: scripts/redirect.sh check",
            )
            return Refusal(421, "the proxy's own connection was redirected to it")
        return None

    async def _registry(self, wanted: Origin, redirected: RedirectedConnection) -> Origin | None:
        conn = redirected.context.client
        parts, client = self._state.parts(), client_of(conn)
        try:
            if wanted.scheme == "http":
                destinations = self._state.parts().destinations
                reach = destinations.named_by_client(wanted.host, wanted.port, client)
                return wanted if await parts.hosts.is_registry(wanted, reach, client) else None
            role = await parts.interception.role(wanted, client)
            if role is not None:
                shown = fingerprint(redirected.received)
                if parts.interception.tunnels(wanted, client, shown):
                    role, redirected.why_tunnelled = None, UNTRUSTING
            else:
                redirected.why_tunnelled = parts.interception.why_tunnelled(wanted)
        except Exception:  # noqa: BLE001 one failure must not end the others
            self._state.events().log(Event.HOOK_FAILED, task="the decision on a connection")
            return None
        if role is None:
            return None
        self._state.roles[conn.id] = role
        return wanted


def _place(address: Any) -> _Place:
    """Host and port of a socket's address, which has more in it for IPv6."""
    return address[0], address[1]

"""The addon: its start and stop, and the hooks in the order in which each event goes to them.

A connection: ``ssrf_boundary`` refuses what leads where nobody may go; ``intercept`` decides
between interception and a tunnel after a CONNECT, ``redirected_connections`` where a firewall
redirected it; ``certificate_refused`` tunnels for clients without our CA; ``recording.tunnels``
records what cannot be looked into; ``idle_timeout`` drops who does nothing; ``tls_contexts`` makes
handshakes cheap; ``garbage_collection`` clears away what is closed.

``client_connections`` follows all of them, for that and for ``restart.drain``, which lets them end
at a stop.

A request: ``answer_request`` answers what can be cached; ``passthrough`` watches what is not,
``push_tee`` keeps what is pushed; ``upstream_proxy`` sends it by the upstream proxy or past it,
``connect_timeout`` gives up where nobody is; ``recording.requests`` records what became of it;
``sending.send_body`` feeds the bodies of answers.
"""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mitmproxy import ctx, exceptions
from mitmproxy.proxy.mode_servers import ServerInstance
from mitmproxy.proxy.mode_specs import TransparentMode

from entrepot.app.composition import Engine
from entrepot.app.foundation import Foundation
from entrepot.app.page.admin_sockets import admin_sockets
from entrepot.app.service_notification import notify_ready, notify_stopping
from entrepot.app.socket_activation import Place, Sockets
from entrepot.app.start_error import StartError
from entrepot.config.load import load_config
from entrepot.config.mirror_spec import Mirror, name_of
from entrepot.config.settings import Config, ConfigError
from entrepot.config.units import size_text
from entrepot.endpoints.health.readiness import Phase
from entrepot.events.table import Event
from entrepot.http_client.connect.own_addresses import Listeners
from entrepot.mitm import mitmproxy_options
from entrepot.mitm.client_connections import ClientConnections
from entrepot.mitm.event_dispatch import remember_handlers
from entrepot.mitm.garbage_collection import GarbageCollection
from entrepot.mitm.hooks.answer_request import Requests
from entrepot.mitm.hooks.certificate_refused import CertificateRefused
from entrepot.mitm.hooks.connect_timeout import ConnectTimeout
from entrepot.mitm.hooks.idle_timeout import IdleTimeout
from entrepot.mitm.hooks.intercept import Intercept
from entrepot.mitm.hooks.passthrough import Passthrough
from entrepot.mitm.hooks.push_tee import PushTee
from entrepot.mitm.hooks.ssrf_boundary import SsrfBoundary, guard
from entrepot.mitm.hooks.tls_contexts import TlsContexts
from entrepot.mitm.hooks.upstream_proxy import ProxyLoops, UpstreamProxyRoute
from entrepot.mitm.library_log import START, take_over
from entrepot.mitm.recording.requests import RecordRequests
from entrepot.mitm.recording.tunnels import RecordTunnels
from entrepot.mitm.resolve_override import override_resolution
from entrepot.mitm.restart.drain import Drain
from entrepot.mitm.restart.inherited_listeners import InheritedListeners
from entrepot.mitm.sending.send_body import SendBody
from entrepot.mitm.state import ProxyState
from entrepot.mitm.transparent.redirected_connections import TransparentIntercept

# Among mitmproxy's own, whose errors end a start; ours go another way by then (``events``).
logger = logging.getLogger(START)


class Entrepot:
    """The cache as a mitmproxy addon.

    Without a ``foundation`` it reads its options from mitmproxy's (``entrepot_*``) and lays one.
    """

    def __init__(
        self, foundation: Foundation | None = None, sockets: Mapping[Place, Sockets] | None = None
    ) -> None:
        """``sockets``: those that are open already, by where an option says to listen."""
        self._foundation = foundation
        self._sockets = sockets or {}
        self._state = ProxyState()
        connections = ClientConnections()
        self._drain = Drain(connections)
        self._inherited = InheritedListeners({})
        self._starting: asyncio.Task[None] | None = None
        self.addons = [
            ProxyLoops(self._state),
            SsrfBoundary(self._state),
            Intercept(self._state, self._drain),
            CertificateRefused(self._state),
            TransparentIntercept(self._state, self._drain),
            RecordTunnels(self._state),
            connections,
            IdleTimeout(self._state, connections),
            self._drain,
            TlsContexts(self._state),
            Requests(self._state, self._drain),
            ConnectTimeout(self._state),
            Passthrough(self._state),
            UpstreamProxyRoute(self._state),
            PushTee(self._state),
            RecordRequests(self._state),
            SendBody(self._state),
            GarbageCollection(),
        ]

    def load(self, loader: Any) -> None:
        """Declare our options; from now on every line is in our format."""
        take_over(self._state.events)
        for problem in mitmproxy_options.misset(ctx.options.deferred):
            logger.error("%s", problem)
        mitmproxy_options.add_to(loader)

    def configure(self, updated: set[str]) -> None:
        """Start at the first call, refuse what would break a promise at every later one."""
        if self._state.engine is not None:
            if any(name.startswith("entrepot_") for name in updated):
                raise exceptions.OptionsError("entrepot's options need a restart")
            try:
                mitmproxy_options.check(ctx.options, self._state.engine.foundation.config)
            except ConfigError as error:
                raise exceptions.OptionsError(str(error)) from error
        else:
            self._start()

    def _start(self) -> None:
        try:
            mitmproxy_options.check(ctx.options)
            foundation = self._foundation or Foundation.lay(self._configuration())
        except (ConfigError, StartError) as error:
            logger.error("%s", error)  # noqa: TRY400 one clear line; mitmproxy ends on it
            return
        self._foundation = foundation
        self._state.engine = engine = Engine(foundation)
        self._state.mirror_modes = mitmproxy_options.mirror_modes(foundation.config.mirror)
        loop = asyncio.get_running_loop()
        engine.authority.on_switch = lambda: loop.call_soon_threadsafe(_sign_anew)
        override_resolution(loop, foundation.config.resolve)
        guard(loop, engine.destinations)
        ctx.options.update(
            **mitmproxy_options.needed(foundation.config, ctx.options),
            **mitmproxy_options.trusted_roots(foundation.bundle, foundation.roots.folder),
            confdir=str(foundation.config.data / "ca"),
        )
        modes = mitmproxy_options.modes(foundation.config, ctx.options)
        self._inherited = InheritedListeners(
            {mode: self._sockets[place] for mode, place in modes.items() if place in self._sockets}
        )
        self._inherited.put_in_place()
        # Nobody sees mitmproxy's lines below a warning (option termlog_verbosity), yet mitmdump
        # formats each, and tells every add-on of it: two for each connection.
        logging.getLogger("mitmproxy").setLevel(logging.WARNING)

    def _configuration(self) -> Config:
        given = mitmproxy_options.given(ctx.options)
        return load_config(given, os.environ, Path.home(), os.geteuid() == 0)

    def running(self) -> None:
        """Listen where we were told to, and say in one line that the proxy is there."""
        if self._state.engine is not None:
            remember_handlers(ctx.master.addons)
            if (no_h2c := ctx.master.addons.get("disableh2c")) is not None:
                ctx.master.addons.remove(no_h2c)  # to us an upgrade to HTTP/2 is like any other
            self._starting = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        # A script is loaded when mitmproxy already listens on its own default: move it.
        proxyserver = ctx.master.addons.get("proxyserver")
        if not await proxyserver.setup_servers():
            ctx.master.shutdown()
            return
        parts = self._state.parts()
        foundation = parts.foundation
        admin = self._listen_for_page(parts)
        listening = (a[:2] for server in proxyserver.servers for a in server.listen_addrs)
        parts.destinations.listeners = Listeners([*listening, *admin])
        roads = _listeners(proxyserver.servers, self._state.mirror_modes)
        self._state.proxy_port = int(roads["on"].rpartition(":")[2]) if "on" in roads else None
        parts.proxy_port = self._state.proxy_port
        parts.events.log(
            Event.LISTENING,
            on=roads.get("on"),
            transparent=roads.get("transparent"),
            mirrors=roads.get("mirrors"),
            admin=",".join(map(_authority, admin)) or None,
            data=foundation.config.data,
            limit=size_text(foundation.store.limit),
            ca_sha256=parts.authority.standing.authority.fingerprint,
        )
        parts.readiness.phase = Phase.RUNNING
        places = ", ".join(place for place in roads.values() if place)
        notify_ready(os.environ, f"listening on {places}")

    def _listen_for_page(self, parts: Engine) -> list[tuple[Any, ...]]:
        """Serve the page where ``--admin`` says; the addresses. Where it cannot, a line says so."""
        place = parts.foundation.config.admin
        if place is None:
            return []
        try:
            sockets = self._sockets.get(place) or admin_sockets(place)
        except OSError as error:
            parts.events.log(Event.PAGE_FAILED, reason=error.strerror or error)
            return []
        addresses = [one.getsockname()[:2] for one in sockets]
        parts.site.listen(sockets)
        return addresses

    async def done(self) -> None:
        """Let what is under way end, for as long as ``--drain`` allows, then stop."""
        if self._state.engine is None:
            return
        parts = self._state.parts()
        parts.readiness.phase = Phase.DRAINING
        notify_stopping(os.environ)
        self._inherited.stop_accepting()
        if busy := self._drain.begin():
            parts.events.log(Event.DRAIN_BEGUN, connections=busy, hint="a second signal ends it")
        servers = list(ctx.master.addons.get("proxyserver").servers)
        accepting = not all(self._inherited.includes(one.mode.full_spec) for one in servers)
        left = await self._drain.wait(parts.foundation.config.drain, accepting=accepting)
        if left:
            parts.events.log(Event.TRANSFERS_UNFINISHED, connections=left)
        for server in servers:
            if server.is_running:
                await server.stop()
        await self._drain.close_connections()
        await parts.close()

    def stop_at_once(self) -> None:
        """Let a stop that has begun wait no longer."""
        self._drain.give_up()


def _sign_anew() -> None:
    """Have mitmproxy read the authority again, and forget the leaves of the one before."""
    ctx.options.update(confdir=ctx.options.confdir)


def _listeners(
    servers: Iterable[ServerInstance[Any]], mirrors: Mapping[str, Mirror]
) -> dict[str, str]:
    """Where clients are accepted, by the road on which they come."""
    roads: dict[str, list[str]] = {}
    for server in servers:
        mirror = mirrors.get(server.mode.full_spec)
        road = "transparent" if isinstance(server.mode, TransparentMode) else "on"
        of = f"={name_of(mirror.registry)}" if mirror is not None and mirror.registry else ""
        places = roads.setdefault("mirrors" if mirror is not None else road, [])
        places.extend(f"{_authority(address)}{of}" for address in server.listen_addrs)
    return {road: ",".join(dict.fromkeys(addresses)) for road, addresses in roads.items()}


def _authority(address: tuple[Any, ...]) -> str:
    host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
    return f"{host}:{address[1]}"

"""The page of a running proxy: what it may ask of the other parts, and where it listens."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from entrepot.admin.data.sources import Live, Sources
from entrepot.app.authority_in_use import AuthorityInUse
from entrepot.app.foundation import Foundation
from entrepot.config.addresses import Listen
from entrepot.control.administration import Administration
from entrepot.endpoints.health.healthz import upstream_problems
from entrepot.endpoints.health.readiness import Readiness
from entrepot.endpoints.health.untrusting_clients import described
from entrepot.pull.cache import Cache
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.interception import Interception
from entrepot.version import VERSION


class Parts(Protocol):
    """What is needed of an engine."""

    foundation: Foundation
    context: Context
    cache: Cache
    interception: Interception
    readiness: Readiness
    authority: AuthorityInUse
    proxy_port: int | None


def page_sources(parts: Parts, administration: Administration) -> Sources:
    """What the page may ask; to be called in the engine's loop."""
    foundation, context = parts.foundation, parts.context
    return Sources(
        asyncio.get_running_loop(),
        _looking(parts),
        administration,
        foundation.config,
        lambda: parts.proxy_port,
        context.events,
        context.clock,
        context.wall,
        time.time(),
        VERSION,
    )


def _looking(parts: Parts) -> Callable[[], Coroutine[Any, Any, Live]]:
    context = parts.context

    async def look() -> Live:
        now = context.wall()
        upstreams = context.gateway.upstreams()
        problems = await parts.readiness.problems()
        return Live(
            now,
            parts.cache.running(),
            {str(origin): state for origin, state in upstreams.items()},
            described(parts.interception.untrusting_clients(), now),
            [*problems, *upstream_problems(upstreams, now)],
            await context.store_thread.run(context.store.usage, None),
            dict(context.events.counts),
            parts.authority.described(),
        )

    return look


def admin_sockets(place: Listen) -> list[socket.socket]:
    """Listen there. Raises OSError."""
    found = socket.getaddrinfo(
        place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listening: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in found:
            one = socket.socket(family, kind, protocol)
            listening.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen()
    except OSError:
        for one in listening:
            one.close()
        raise
    return listening

"""What the page may ask of the other parts of a running proxy."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from entrepot.admin.data.sources import Live, Sources
from entrepot.app.authority_in_use import AuthorityInUse
from entrepot.app.foundation import Foundation
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

"""A look at a running proxy, for all that shows it: the page, and `entrepot status` and `top`."""

from typing import Protocol

from entrepot.admin.data.sources import Live
from entrepot.app.authority_in_use import AuthorityInUse
from entrepot.app.foundation import Foundation
from entrepot.endpoints.health.healthz import upstream_problems
from entrepot.endpoints.health.readiness import Readiness
from entrepot.endpoints.health.untrusting_clients import described
from entrepot.pull.cache import Cache
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.interception import Interception


class Parts(Protocol):
    """What is needed of an engine."""

    foundation: Foundation
    context: Context
    cache: Cache
    interception: Interception
    readiness: Readiness
    authority: AuthorityInUse
    proxy_port: int | None


async def look(parts: Parts) -> Live:
    """How it is now; in the engine's loop."""
    context = parts.context
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

"""The page ``/metrics``: what is asked of the engine for it, and when it is written.

Values that belong to the event loop are taken there; the text is written on a thread. However
often is asked, it is written four times a second at most.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING

from entrepot.endpoints.health.readiness import CHECK_SECONDS, Readiness
from entrepot.metrics import engine_families, request_families, upstream_families
from entrepot.metrics.engine_samples import Build, Clients, Engine, of_events
from entrepot.metrics.family import OPEN_METRICS, Page, Samples
from entrepot.metrics.request_tallies import RequestTallies
from entrepot.metrics.upstream_tallies import UpstreamsNow, UpstreamTallies
from entrepot.pull.cache import Cache
from entrepot.storage.capacity.size_limit import Usage
from entrepot.upstream.context import Context

if TYPE_CHECKING:
    from entrepot.metrics.exposition import Exposition

FRESH_SECONDS = 0.25
CLIENTS_SECONDS = 15.0
"""How long the numbers of clients count: to count them is to look at up to 10,000 rows."""
FAMILIES = (
    *engine_families.FAMILIES,
    *request_families.FAMILIES,
    *upstream_families.FAMILIES,
)
"""All that there is, in the order of the page."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What is asked of the engine, all on the event loop."""

    build: Build
    context: Context
    cache: Cache
    readiness: Readiness
    authority_expiry: Callable[[], float]
    """In seconds since 1970."""
    clients: Callable[[], Clients]


class Metrics:
    """Writes the page; on the event loop."""

    def __init__(self, requests: RequestTallies, sources: Sources) -> None:
        """``requests`` is one of the recorder's writers."""
        self._requests = requests
        self._sources = sources
        self._upstreams = UpstreamTallies()
        sources.context.gateway.outcomes.also = self._upstreams
        self._clients = (-inf, Clients())
        self._pages: dict[bool, tuple[float, asyncio.Task[Page]]] = {}

    async def page(self, accept: str) -> Page:
        """The page for who accepts these types."""
        form = OPEN_METRICS in accept
        now = self._sources.context.clock()
        began, task = self._pages.get(form, (-inf, None))
        if task is None or (task.done() and now >= began + FRESH_SECONDS):
            task = asyncio.create_task(self._write(OPEN_METRICS if form else ""))
            self._pages[form] = now, task
        return await asyncio.shield(task)

    async def _write(self, accept: str) -> Page:
        sources = self._sources
        problems = await sources.readiness.problems()
        slots = sources.context.threads.slots
        engine = Engine(
            problems=frozenset(problem.code for problem in problems),
            downloads=sources.cache.downloads,
            waiters=sources.cache.followers,
            calls=slots.taken,
            waiting_calls=slots.waiting,
            authority_expiry=sources.authority_expiry(),
            clients=self._count_clients(),
            usage=None if problems else await self._usage(),
        )
        gateway = sources.context.gateway
        breakers, limits = gateway.health.states(), dict(gateway.limits.last)

        def write() -> Page:
            upstreams = UpstreamsNow(gateway.outcomes.states(), breakers, limits)
            return self._exposition.page(self._all(engine, upstreams), accept)

        return await asyncio.to_thread(write)

    @cached_property
    def _exposition(self) -> "Exposition":
        """Made for the first page: a start needs no library for it."""
        from entrepot.metrics.exposition import Exposition  # noqa: PLC0415 see above

        return Exposition(FAMILIES)

    def _all(self, engine: Engine, upstreams: UpstreamsNow) -> Iterator[Samples]:
        yield from self._sources.build.samples()
        yield from engine.samples()
        yield from of_events(self._sources.context.events.counts)
        yield from self._requests.samples()
        yield from self._upstreams.samples(upstreams)

    def _count_clients(self) -> Clients:
        now = self._sources.context.clock()
        if now >= self._clients[0] + CLIENTS_SECONDS:
            self._clients = now, self._sources.clients()
        return self._clients[1]

    async def _usage(self) -> Usage | None:
        """What the store takes, where it says so in time."""
        store_thread = self._sources.context.store_thread
        asked = asyncio.ensure_future(store_thread.run(store_thread.store.usage, None))
        await asyncio.wait({asked}, timeout=CHECK_SECONDS)
        return asked.result() if asked.done() else None

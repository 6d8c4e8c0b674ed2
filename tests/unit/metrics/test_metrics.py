"""The page as a whole, of a real store and engine without a proxy."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrepot.auth.grants import Access
from entrepot.endpoints.health.readiness import FRESH_SECONDS, Phase, Readiness
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.metrics.engine_samples import Build, Clients
from entrepot.metrics.family import OPEN_METRICS
from entrepot.metrics.metrics import CLIENTS_SECONDS, Metrics, Sources
from entrepot.metrics.request_tallies import RequestTallies
from entrepot.pull.cache import Cache
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from unit.metrics.records import BLOB


@dataclass
class World:
    """The page, what it is made of, and a clock that goes when it is told to."""

    metrics: Metrics = field(init=False)
    context: Context = field(init=False)
    requests: RequestTallies = field(default_factory=RequestTallies)
    clients: Clients = field(default_factory=Clients)
    now: float = 1000.0

    async def lines(self, accept: str = "") -> list[str]:
        """A page that is written anew."""
        self.now += FRESH_SECONDS
        _, text = await self.metrics.page(accept)
        return text.decode().splitlines()


Run = Callable[[Callable[[World], Awaitable[None]]], None]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs a scenario in a world of its own, on an event loop of its own."""
    with closing(Store(tmp_path / "data", 10**7)) as store:

        async def main(scenario: Callable[[World], Awaitable[None]]) -> None:
            world = World()
            upstream, access = HttpClient(Roots(None, None)), Access(b"secret")
            world.context = Context.make(store, upstream, access, Events(), lambda: world.now)
            with closing(world.context):
                readiness = Readiness(world.context.store_thread, lambda: world.now, 0.2)
                readiness.phase = Phase.RUNNING
                sources = Sources(
                    Build("0.1.0", "12.3.1", store.limit),
                    world.context,
                    Cache(world.context),
                    readiness,
                    lambda: 2e9,
                    lambda: world.clients,
                )
                world.metrics = Metrics(world.requests, sources)
                await scenario(world)

        yield lambda scenario: asyncio.run(main(scenario))


def test_all_who_ask_at_once_get_the_same_page(run: Run) -> None:
    """And who asks within a quarter of a second: a flood of questions costs four pages a second."""

    async def scenario(world: World) -> None:
        first, *others = await asyncio.gather(*(world.metrics.page("") for _ in range(20)))
        assert all(other is first for other in others)
        world.requests.write([BLOB])
        assert await world.metrics.page("") is first
        other_format, _ = await world.metrics.page(OPEN_METRICS)
        assert other_format.startswith(OPEN_METRICS)
        line = 'entrepot_requests_total{kind="blob",outcome="hit",registry="docker.io"} 1.0'
        assert line in await world.lines()

    run(scenario)


def test_a_store_that_hangs_is_waited_for_no_longer_than_its_check(run: Run) -> None:
    """The rest of the page is there, and says why its part is missing."""

    async def scenario(world: World) -> None:
        assert "entrepot_store_objects 0.0" in await world.lines()
        begun, go_on = threading.Event(), threading.Event()

        def hang() -> None:
            begun.set()
            go_on.wait(60)

        thread = threading.Thread(
            target=world.context.store_thread.run_from_thread, args=(hang,), daemon=True
        )
        thread.start()
        await asyncio.to_thread(begun.wait, 60)
        lines = await world.lines()
        assert "entrepot_ready 0.0" in lines
        assert 'entrepot_problem{code="store_busy"} 1.0' in lines
        assert "entrepot_store_limit_bytes 1e+07" in lines
        assert not [line for line in lines if "entrepot_store_objects" in line]
        go_on.set()
        await asyncio.to_thread(thread.join)
        assert "entrepot_store_objects 0.0" in await world.lines()

    run(scenario)


def test_clients_are_counted_now_and_then(run: Run) -> None:
    """To count them is to look at all that are known."""

    async def scenario(world: World) -> None:
        await world.lines()
        world.clients = Clients(3, 2)
        assert "entrepot_untrusting_clients 0.0" in await world.lines()
        world.now += CLIENTS_SECONDS
        lines = await world.lines()
        assert "entrepot_untrusting_clients 3.0" in lines
        assert "entrepot_authority_waiting_clients 2.0" in lines

    run(scenario)

"""Whether the proxy is ready, by a real store that is in trouble."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrepot.endpoints.health.readiness import FRESH_SECONDS, Phase, Problem, Readiness
from entrepot.events.log import Events
from entrepot.storage.store import Store
from entrepot.storage.store_thread import StoreThread


@dataclass
class World:
    """Readiness by a store of a test's own."""

    store: Store
    thread: StoreThread
    events: Events
    readiness: Readiness
    now: list[float]

    def codes(self) -> list[str]:
        """What is in the way, by a look that is made anew."""
        self.now[0] += FRESH_SECONDS
        return [problem.code for problem in asyncio.run(self.readiness.problems())]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    now, events = [1000.0], Events()
    with closing(Store(tmp_path / "data", 10**7)) as store:
        thread = StoreThread(store, events, lambda: now[0])
        readiness = Readiness(thread, lambda: now[0], 30)
        readiness.phase = Phase.RUNNING
        yield World(store, thread, events, readiness, now)
        thread.close()


def test_it_is_ready_where_it_runs_and_can_store(world: World) -> None:
    """And the look leaves nothing behind."""
    assert world.codes() == []
    assert list(world.store.partials.folder.iterdir()) == []


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.DRAINING])
def test_it_is_not_ready_before_it_runs_and_once_it_stops(world: World, phase: Phase) -> None:
    """The store is not asked then: it may be closed already."""
    world.readiness.phase = phase
    world.store.partials.folder.rmdir()
    assert world.codes() == [phase.name.lower()]


@pytest.mark.parametrize("name", ["blobs", "index"])
def test_another_process_at_the_database_is_found(world: World, name: str) -> None:
    """Without a pull that meets it; and that it has gone, once the store's rest is over."""
    database = world.store.folder / name / "cache.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert world.codes() == ["store_busy"]
        assert world.codes() == ["store_busy"]
    assert world.events.counts["store_busy"] == 1, "while it rests it is not asked again"
    world.now[0] += 10
    assert world.codes() == []


@pytest.mark.parametrize("name", ["blobs", "index"])
def test_a_table_that_is_gone_is_found(world: World, name: str) -> None:
    with closing(sqlite3.connect(world.store.folder / name / "cache.db")) as other:
        other.execute("DROP TABLE Cache")
    assert world.codes() == ["store_failed"]


def test_a_folder_that_is_gone_is_found(world: World) -> None:
    """And that it is there again."""
    world.store.partials.folder.rmdir()
    assert world.codes() == ["store_failed"]
    world.store.partials.folder.mkdir()
    assert world.codes() == []


def test_a_store_that_hangs_is_not_waited_for(world: World) -> None:
    """However often one asks, one question at a time is put to it."""
    free = threading.Event()
    readiness = Readiness(world.thread, lambda: world.now[0], 0.05)
    readiness.phase = Phase.RUNNING

    async def scenario() -> None:
        hanging = asyncio.create_task(world.thread.run(lambda: free.wait(30), otherwise=False))
        for _ in range(2):
            problems = await readiness.problems()
            reason = "the store does not answer within 0.05 s"
            assert problems == (Problem("store_busy", reason),)
        free.set()
        assert await hanging
        async with asyncio.timeout(10):
            while await readiness.problems():
                pass

    asyncio.run(scenario())


def test_it_is_not_looked_at_for_each_who_asks(world: World) -> None:
    """What was found counts for a second: who asks more often costs the disk nothing."""
    world.codes()
    world.store.partials.folder.rmdir()

    async def scenario() -> list[tuple[Problem, ...]]:
        world.now[0] += 0.9 * FRESH_SECONDS
        return [await world.readiness.problems() for _ in range(3)]

    assert asyncio.run(scenario()) == [()] * 3
    world.store.partials.folder.mkdir()

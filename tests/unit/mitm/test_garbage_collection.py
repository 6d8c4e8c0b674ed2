"""Collections of garbage: closed connections go, and the others hardly wait for it."""

import asyncio
import gc
import weakref

import pytest
from mitmproxy import connection

from entrepot.mitm.garbage_collection import GarbageCollection, pause_after


class Closed:
    """What hangs together in a cycle."""

    def __init__(self) -> None:
        self.itself = self


def client() -> connection.Client:
    return connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))


def test_what_was_closed_is_given_back_in_a_second() -> None:
    """Old or young; one collection for all that close meanwhile."""
    gone = asyncio.Event()
    collected: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            collected.append(info["generation"])

    async def scenario() -> None:
        old = Closed()
        gc.collect()
        weakref.finalize(old, gone.set)
        del old
        memory, one = GarbageCollection(), client()
        gc.callbacks.append(note)
        for _ in range(10):
            memory.client_disconnected(one)
        async with asyncio.timeout(10):
            await gone.wait()

    try:
        asyncio.run(scenario())
    finally:
        gc.callbacks.remove(note)
    assert collected.count(2) == 1


@pytest.mark.parametrize(("took", "pause"), [(0.0, 0.0), (0.02, 1.0), (0.07, 3.5)])
def test_looking_at_everything_takes_a_fiftieth_of_the_time_at_most(
    took: float, pause: float
) -> None:
    """However many connections are open."""
    assert pause_after(took) == pytest.approx(pause)

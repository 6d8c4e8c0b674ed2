"""Answers that are remembered for a moment."""

import asyncio

import pytest

from entrepot.admin.data.recent import Recent


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_is_made_once_while_it_counts() -> None:
    """For all who ask at the same time, and for who asks a moment later."""
    clock, made = Clock(), 0

    async def make() -> int:
        nonlocal made
        made += 1
        await asyncio.sleep(0)
        return made

    async def ask() -> list[int]:
        recent = Recent(clock)
        found = list(await asyncio.gather(*(recent.get("a", 5, make) for _ in range(3))))
        found.append(await recent.get("b", 5, make))
        clock.now += 5
        found.append(await recent.get("a", 5, make))
        recent.forget()
        found.append(await recent.get("a", 5, make))
        return found

    assert asyncio.run(ask()) == [1, 1, 1, 2, 3, 4]


def test_what_takes_long_counts_for_longer() -> None:
    """So that nobody who looks keeps the disk busy."""
    clock, made = Clock(), 0

    async def make() -> int:
        nonlocal made
        made += 1
        clock.now += 2
        return made

    async def ask() -> list[int]:
        recent = Recent(clock)
        found = [await recent.get("a", 5, make)]
        for seconds in (20, 50, 20):
            clock.now += seconds
            found.append(await recent.get("a", 5, make))
        return found

    assert asyncio.run(ask()) == [1, 1, 1, 2]


def test_a_failure_is_not_remembered() -> None:
    """Who asks next may have better luck."""

    async def fail() -> int:
        raise OSError("no disk")

    async def succeed() -> int:
        return 1

    async def ask() -> int:
        recent = Recent(Clock())
        with pytest.raises(OSError, match="no disk"):
            await recent.get("a", 5, fail)
        return await recent.get("a", 5, succeed)

    assert asyncio.run(ask()) == 1

"""Answers remembered for some seconds, so that many open pages cost what one does; on one loop."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from entrepot.bounded_map import BoundedMap

_MOST = 64
T = TypeVar("T")


class Recent:
    """Makes each answer once for all who ask at the same time, and again when it is too old."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: BoundedMap[Hashable, tuple[float, asyncio.Future[Any]]] = BoundedMap(_MOST)

    async def get(self, key: Hashable, seconds: float, make: Callable[[], Awaitable[T]]) -> T:
        """The answer of ``make``, at most so old. Raises what it raises."""
        made, kept = self._kept.get(key, (0.0, None))
        if kept is None or (kept.done() and (_failed(kept) or self._clock() >= made + seconds)):
            kept = asyncio.ensure_future(make())
            kept.add_done_callback(_failed)  # somebody may have left who asked
            self._kept.put(key, (self._clock(), kept))
        answer: T = await asyncio.shield(kept)
        return answer

    def forget(self) -> None:
        """Make each anew when it is next asked for."""
        self._kept.clear()


def _failed(future: "asyncio.Future[Any]") -> bool:
    return future.cancelled() or future.exception() is not None

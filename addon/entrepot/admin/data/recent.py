"""Answers remembered for some seconds, so that many open pages cost what one does; on one loop."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from entrepot.bounded_map import BoundedMap

_MOST = 64
_TIMES = 40
"""What took a while to make counts for longer: so it takes a fortieth of a core at most."""
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Kept:
    """An answer, or one that is being made; times by the clock."""

    future: "asyncio.Future[Any]"
    began: float
    took: float = 0.0

    def is_fresh(self, seconds: float, now: float) -> bool:
        """Whether it counts still, or will."""
        if not self.future.done():
            return True
        return not _failed(self.future) and now < self.began + max(seconds, _TIMES * self.took)


class Recent:
    """Makes each answer once for all who ask at the same time, and again when it is too old."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: BoundedMap[Hashable, _Kept] = BoundedMap(_MOST)

    async def get(self, key: Hashable, seconds: float, make: Callable[[], Awaitable[T]]) -> T:
        """The answer of ``make``, at most so old, or older where it takes long to make.

        Raises what it raises.
        """
        kept = self._kept.get(key)
        if kept is None or not kept.is_fresh(seconds, self._clock()):
            kept = self._begin(make)
            self._kept.put(key, kept)
        answer: T = await asyncio.shield(kept.future)
        return answer

    def _begin(self, make: Callable[[], Awaitable[T]]) -> _Kept:
        kept = _Kept(asyncio.ensure_future(make()), self._clock())

        def ended(future: "asyncio.Future[Any]") -> None:
            kept.took = self._clock() - kept.began
            _failed(future)  # somebody may have left who asked

        kept.future.add_done_callback(ended)
        return kept

    def forget(self) -> None:
        """Make each anew when it is next asked for."""
        self._kept.clear()


def _failed(future: "asyncio.Future[Any]") -> bool:
    return future.cancelled() or future.exception() is not None

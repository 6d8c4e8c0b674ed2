"""Who waits for which byte of a growing file, and is woken when just that is there."""

import asyncio
import contextlib
import threading
from bisect import bisect_left, insort
from dataclasses import dataclass

from entrepot.protocol.messages import BodyError


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    byte: int
    """The offset that it waits for."""
    early: bool
    """Whether it waits for just a part, which may fail alone."""
    future: "asyncio.Future[None]"


def _byte(waiter: _Waiter) -> int:
    return waiter.byte


class Waiters:
    """Those who wait on one event loop. All but the waking itself is done under ``lock``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lock: threading.Condition) -> None:
        self._loop = loop
        self._lock = lock
        self._waiting: list[_Waiter] = []
        """By the byte that each waits for."""
        self._settling: list[asyncio.Future[None]] = []
        self._woken: list[tuple[asyncio.Future[None], BodyError | None]] = []

    def until_there(self, byte: int, *, early: bool) -> "asyncio.Future[None]":
        """What is done when a byte is there, or will not come."""
        future: asyncio.Future[None] = self._loop.create_future()
        insort(self._waiting, _Waiter(byte, early, future), key=_byte)
        return future

    def until_settled(self) -> "asyncio.Future[None]":
        """What is done when it is known how the download ends."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._settling.append(future)
        return future

    def wake_between(self, start: int, stop: int) -> None:
        """Wake those whose byte lies there."""
        if self._waiting:
            self._wake_soon([(one.future, None) for one in self._taken(start, stop)])

    def wake_all(self) -> None:
        """Wake all, since nothing more will come."""
        futures = [*(waiter.future for waiter in self._waiting), *self._settling]
        self._waiting, self._settling = [], []
        self._wake_soon([(future, None) for future in futures])

    def fail(self, start: int, stop: int, error: BodyError) -> None:
        """Cut those who wait for just a part that lies there; the others go on waiting."""
        taken = self._taken(start, stop)
        for waiter in taken:
            if not waiter.early:
                insort(self._waiting, waiter, key=_byte)
        self._wake_soon([(one.future, error) for one in taken if one.early])

    def _taken(self, start: int, stop: int) -> list[_Waiter]:
        first = bisect_left(self._waiting, start, key=_byte)
        last = bisect_left(self._waiting, stop, key=_byte)
        found, self._waiting[first:last] = self._waiting[first:last], []
        return found

    def _wake_soon(self, futures: "list[tuple[asyncio.Future[None], BodyError | None]]") -> None:
        """Wake these; one call is enough for all that was written before it ran."""
        if not futures:
            return
        is_waking = bool(self._woken)
        self._woken += futures
        if not is_waking:
            with contextlib.suppress(RuntimeError):  # the loop has ended before the thread
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        with self._lock:
            woken, self._woken = self._woken, []
        for future, error in woken:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

"""Readiness: whether the proxy listens, is not stopping, and can store what it fetches.

The store is asked anew, not what last went wrong in it: without a pull nothing would show that a
disk has room again. What rows and files a kill left is put right beside the pulls
(``storage.startup.crash_recovery``), and hinders none.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from entrepot.storage.errors import StoreTrouble
from entrepot.storage.store_thread import StoreThread

CHECK_SECONDS = 2.0
"""How long the store is waited for."""
FRESH_SECONDS = 1.0
"""How long what it said counts: however often is asked, it is looked at so often."""


class Phase(Enum):
    """Where the process is between its start and its end."""

    STARTING = "it does not listen yet"
    RUNNING = ""
    DRAINING = "it is stopping: running transfers may end, no new ones begin"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that an administrator or a load balancer should know; ``code`` is for programs."""

    code: str
    reason: str


class Readiness:
    """Says why the proxy is not ready; all on the event loop."""

    def __init__(
        self,
        store_thread: StoreThread,
        clock: Callable[[], float],
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        """``clock`` never jumps."""
        self.phase = Phase.STARTING
        self._store_thread = store_thread
        self._clock = clock
        self._check_seconds = check_seconds
        self._check: asyncio.Task[StoreTrouble | None] | None = None
        self._began = 0.0

    @property
    def takes_pulls(self) -> bool:
        """Whether pulls are answered, be it without the store."""
        return self.phase is Phase.RUNNING

    async def problems(self) -> tuple[Problem, ...]:
        """All that keeps it from being ready, at most some seconds after it was asked."""
        if not self.takes_pulls:  # the store may be closed already, or not used yet
            return (Problem(self.phase.name.lower(), self.phase.value),)
        problem = await self._store_problem()
        return () if problem is None else (problem,)

    async def _store_problem(self) -> Problem | None:
        """The store's; however many ask, one question at a time is put to it."""
        now = self._clock()
        if self._check is None or (self._check.done() and now >= self._began + FRESH_SECONDS):
            self._began = now
            self._check = asyncio.create_task(self._store_thread.check())
        check = self._check
        if not check.done():
            await asyncio.wait({check}, timeout=self._check_seconds)
        if not check.done():
            reason = f"the store does not answer within {self._check_seconds:g} s"
            return Problem(StoreTrouble.STORE_BUSY.name.lower(), reason)
        trouble = check.result()
        return None if trouble is None else Problem(trouble.name.lower(), trouble.value)

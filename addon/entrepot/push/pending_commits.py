"""Commits of what was pushed just now, for which the first pull waits instead of fetching it again.

A push does not wait until what it brought is safe on the disk; a pull that comes meanwhile does,
for a while.
"""

import asyncio
from collections.abc import Coroutine, Hashable
from typing import Any

PULL_SECONDS = 5.0
"""A disk that takes longer must not hold up a pull: it fetches instead."""


class PendingCommits:
    """Tasks that store something, by what it is; on one event loop."""

    def __init__(self, pull_seconds: float = PULL_SECONDS) -> None:
        """``pull_seconds`` is how long a pull waits."""
        self._pull_seconds = pull_seconds
        self._tasks: dict[Hashable, set[asyncio.Task[object]]] = {}

    def start(self, what: Hashable, work: Coroutine[Any, Any, object]) -> None:
        """Do ``work``, after which ``what`` may be found in the store."""
        task = asyncio.create_task(work)
        self._tasks.setdefault(what, set()).add(task)
        task.add_done_callback(lambda done: self._ended(what, done))

    def _ended(self, what: Hashable, task: asyncio.Task[object]) -> None:
        tasks = self._tasks[what]
        tasks.discard(task)
        if not tasks:
            del self._tasks[what]

    async def settled(self, what: Hashable) -> None:
        """Wait while ``what`` is being stored, but not for ever."""
        if tasks := self._tasks.get(what):
            await asyncio.wait(tasks, timeout=self._pull_seconds)

    async def stop(self, seconds: float) -> None:
        """Wait for all of it so long, then end it."""
        if tasks := [task for some in self._tasks.values() for task in some]:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()

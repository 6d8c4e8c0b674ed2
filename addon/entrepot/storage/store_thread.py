"""The one thread on which the store is used, for the event loop and for other threads.

One thread, since each has a database connection of its own. Where the store fails, its answer is
"nothing known", and the pull goes on (promise 7).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.storage.errors import StoreBusyError, StoreError, StoreTrouble
from entrepot.storage.store import Store

_REST_SECONDS = 10.0
"""How long the store is left alone when another process holds it: each question to it costs
seconds then, and a pull asks many."""

T = TypeVar("T")


class StoreThread:
    """Runs the methods of a store, one at a time."""

    def __init__(self, store: Store, events: Events, clock: Callable[[], float]) -> None:
        self.store = store
        """To be used on this thread alone."""
        self._events = events
        self._clock = clock
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._rests_until = 0.0

    async def run(self, function: Callable[[], T], otherwise: T) -> T:
        """Run a method of the store; ``otherwise`` where the store fails."""
        if self._clock() < self._rests_until:
            return otherwise
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function)
        except StoreError as error:
            self._failed(error)
            return otherwise

    async def check(self) -> StoreTrouble | None:
        """Why nothing can be stored now, asked of the store itself; None where all is well."""
        if self._clock() < self._rests_until:
            return StoreTrouble.STORE_BUSY
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, self.store.check)
        except StoreError as error:
            self._failed(error)
            return StoreTrouble.of(error)
        return None

    def _failed(self, error: StoreError) -> None:
        if isinstance(error, StoreBusyError):
            self._rests_until = self._clock() + _REST_SECONDS
            self._events.log_once(Event.STORE_BUSY, reason=error)
        else:
            self._events.log_once(Event.STORE_FAILED, reason=error)

    def run_from_thread(self, function: Callable[[], T]) -> T:
        """Run a method of the store for another thread, which waits. Raises ``StoreError``."""
        return self._pool.submit(function).result()

    def close(self) -> None:
        """End the thread, and its connection to the databases."""
        self._pool.submit(self.store.disconnect)
        self._pool.shutdown(wait=True)

"""Housekeeping: what the store needs while it runs, in short turns beside the pulls.

After an end that was not orderly it has rows and files agree again
(``storage.startup.crash_recovery``); each hour it removes the rows that have expired
(``storage.diskcache_db.index_rows``).
"""

from collections.abc import Callable
from typing import TypeVar

from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.maintenance.low_priority_thread import LowPriorityThread
from entrepot.storage.errors import StoreError
from entrepot.storage.store_thread import StoreThread

_HOUR = 3600.0
_PAUSE_SECONDS = 0.01
"""Between two turns of some milliseconds: pulls need the store's thread too."""
T = TypeVar("T")


class Housekeeping:
    """Looks after the store until it is stopped."""

    def __init__(self, store_thread: StoreThread, events: Events, seconds: float = _HOUR) -> None:
        """Each ``seconds`` what has expired is removed."""
        self._store = store_thread.store
        self._store_thread = store_thread
        self._events = events
        self._seconds = seconds
        self._thread = LowPriorityThread("housekeeping", self._work)

    def start(self) -> None:
        """Begin at once."""
        self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._thread.stop()

    def _work(self) -> None:
        while True:
            self._tried(lambda: self._store.recover(self._turn, self._pause))
            self._tried(self._expire)
            self._thread.pause(self._seconds)

    def _tried(self, work: Callable[[], object]) -> None:
        try:
            work()
        except StoreError as error:
            self._events.log_once(Event.UPKEEP_FAILED, reason=error)

    def _expire(self) -> None:
        while self._turn(self._store.expire):
            self._pause()

    def _turn(self, function: Callable[[], T]) -> T:
        return self._store_thread.run_from_thread(function)

    def _pause(self) -> None:
        self._thread.pause(_PAUSE_SECONDS)

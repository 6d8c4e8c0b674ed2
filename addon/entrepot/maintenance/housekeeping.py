"""What the store needs while it runs, in short turns beside the pulls: see ``recovery``, ``index``.

One thread with the lowest priority. After an end that was not orderly it has rows and files agree
again; each hour it removes what has expired.
"""

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from entrepot.events.table import Event
from entrepot.storage.errors import StoreError
from entrepot.upstream.context import Context

_HOUR = 3600.0
_PAUSE_SECONDS = 0.01
"""Between two turns of some milliseconds: pulls need the store's thread too."""
_LOWEST_PRIORITY = 19
T = TypeVar("T")


class _StoppedError(Exception):
    """The proxy is stopping."""


class Upkeep:
    """Looks after the store until it is stopped."""

    def __init__(self, context: Context, seconds: float = _HOUR) -> None:
        """Each ``seconds`` what has expired is removed."""
        self._context = context
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin at once."""
        self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._stop.set()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        store = self._context.store
        try:
            while True:
                self._tried(lambda: store.recover(self._turn, self._pause))
                self._tried(self._expire)
                if self._stop.wait(self._seconds):
                    return
        except (_StoppedError, RuntimeError):  # the store's thread has ended
            return

    def _tried(self, work: Callable[[], object]) -> None:
        try:
            work()
        except StoreError as error:
            self._context.events.log_once(Event.UPKEEP_FAILED, reason=error)

    def _expire(self) -> None:
        store = self._context.store
        while self._turn(store.expire):
            self._pause()

    def _turn(self, function: Callable[[], T]) -> T:
        return self._context.store_thread.run_from_thread(function)

    def _pause(self) -> None:
        if self._stop.wait(_PAUSE_SECONDS):
            raise _StoppedError

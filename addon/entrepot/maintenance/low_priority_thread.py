"""A thread for work beside the pulls: at the lowest priority, and over soon after it is stopped."""

import os
import threading
from collections.abc import Callable

LOWEST_PRIORITY = 19


class StoppedError(Exception):
    """The proxy is stopping."""


class LowPriorityThread:
    """Runs ``work`` once, until it returns or is stopped at one of its pauses."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._work = work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End at the next pause, or in the one that it is in."""
        self._stop.set()

    def pause(self, seconds: float) -> None:
        """Rest so long, on this thread. Raises :class:`StoppedError`, which ends the work."""
        if self._stop.wait(seconds):
            raise StoppedError

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        try:
            self._work()
        except (StoppedError, RuntimeError):  # or the store's thread has ended
            return

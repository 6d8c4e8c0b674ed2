"""The recorder: takes records from the loop without waiting, and writes them on a thread.

Between the two is a queue of bounded length. Where the writers are slower than the pulls (a disk
that hangs, a log that nobody reads), what does not fit is left out and counted; no pull waits.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from entrepot.events.counters import Counter
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.observe.request_record import RequestRecord

MOST_WAITING = 8192
"""Records: some seconds of the most that one proxy answers, and at most 5 MiB."""
_BATCH = 1024
_GATHER_SECONDS = 0.5
"""How long records are gathered, so that a commit is one for many."""
_UPKEEP_SECONDS = 60.0
_REST_SECONDS = 0.05
"""Between two turns of upkeep."""
_STOP_SECONDS = 5.0


class Writer(Protocol):
    """Where records go to. All on the recorder's thread; a failure is the writer's own to tell."""

    def write(self, records: Sequence[RequestRecord]) -> None:
        """Take in some records, in the order in which the requests ended."""

    def upkeep(self) -> bool:
        """Do some milliseconds of what is due, once a minute; whether there is more."""

    def close(self) -> None:
        """Let go of everything."""


class Recorder:
    """Hands records to writers."""

    def __init__(
        self, writers: Sequence[Writer], events: Events, *, most: int = MOST_WAITING
    ) -> None:
        self.is_on = bool(writers)
        """Whether a record is worth making."""
        self._writers = writers
        self._events = events
        self._most = most
        self._queue: deque[RequestRecord] = deque()
        self._is_wanted = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        if self.is_on:
            self._thread = threading.Thread(target=self._run, name="records", daemon=True)
            self._thread.start()

    def put(self, record: RequestRecord) -> None:
        """Take a record; from the event loop, never waits."""
        if not self.is_on:
            return
        if len(self._queue) >= self._most:
            self._events.count(Counter.RECORDS_DROPPED)
            return
        self._queue.append(record)
        if not self._is_wanted.is_set():
            self._is_wanted.set()

    def stop(self) -> None:
        """Write what is there, and end; a disk that hangs is waited for at most five seconds."""
        self._stop.set()
        self._is_wanted.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    # On the thread

    def _run(self) -> None:
        more = False
        while not self._stop.is_set():
            if self._is_wanted.wait(_REST_SECONDS if more else _UPKEEP_SECONDS):
                self._stop.wait(_GATHER_SECONDS)
                self._is_wanted.clear()
            self._write_all()
            more = False
            for writer in self._writers:
                more = self._tried(writer.upkeep) or more
        self._write_all()
        for writer in self._writers:
            self._tried(writer.close)

    def _write_all(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            for writer in self._writers:
                self._tried(partial(writer.write, batch))

    def _tried(self, work: Callable[[], object]) -> bool:
        """Whether it returned true; one failure of ours must not end the recording."""
        try:
            return bool(work())
        except Exception:  # noqa: BLE001 see above
            self._events.log(Event.HOOK_FAILED, task="writing records")
            return False

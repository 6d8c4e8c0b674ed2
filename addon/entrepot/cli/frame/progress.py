"""Progress of a long command, on standard error: bars on a terminal, else a line every 30 s.

Results are no progress: they go to standard output, with `print`, also while bars stand.
"""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TextIO, TypeAlias

from entrepot.cli.frame.text_table import told

LINE_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class Task:
    """One thing that makes progress, such as a layer; ``total`` and ``done`` are bytes.

    Of a total that is not known yet, None, only what is done is told.
    """

    name: str
    total: int | None = None
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def advance(self, count: int) -> None:
        """So many more are done; from any thread."""
        with self._lock:
            self.done += count

    def count(self) -> tuple[int, int | None]:
        """What is done, and of how many."""
        return self.done, self.total


Count: TypeAlias = Callable[[], tuple[int, int | None]]


class _View(Protocol):
    def add(self, task: Task, name: str, count: Count) -> None: ...

    def remove(self, task: Task) -> None: ...

    def stop(self) -> None: ...


class Progress:
    """Tasks, and a sum over them: ``with Progress("verifying") as progress: …``.

    ``total`` are the bytes of all tasks, where they are known before the tasks are. ``stream`` is
    standard error, unless a test has another; ``every`` are the seconds from line to line.
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        every: float = LINE_SECONDS,
    ) -> None:
        self._what = what
        self._total = total
        self._stream = stream or sys.stderr
        self._clock = clock
        self._every = every
        self._began = clock()
        self._tasks: list[Task] = []
        self._gone = 0
        self._lock = threading.Lock()
        self._view: _View | None = None

    def __enter__(self) -> Self:
        self._began = self._clock()
        if self._stream.isatty():
            from entrepot.cli.frame.bars import Bars  # noqa: PLC0415 rich, for a terminal only

            self._view = Bars(self._what, self.sum, self._stream)
        else:
            self._view = _Lines(self.line, self._stream, self._every)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._view is not None:
            self._view.stop()

    def task(self, name: str, total: int | None = None) -> Task:
        """Begin one; it has a bar until :meth:`end`."""
        task = Task(name, total)
        with self._lock:
            self._tasks.append(task)
        if self._view is not None:
            self._view.add(task, name, task.count)
        return task

    def end(self, task: Task) -> None:
        """It is done, or has failed: its bar goes, what it did counts on."""
        with self._lock:
            self._tasks.remove(task)
            self._gone += task.done
        if self._view is not None:
            self._view.remove(task)

    def sum(self) -> tuple[int, int | None]:
        """The bytes done, and of how many; None where that is not known."""
        with self._lock:
            done = self._gone + sum(task.done for task in self._tasks)
            totals = [task.total for task in self._tasks]
        if self._total is not None:
            return done, self._total
        known = [total for total in totals if total is not None]
        return done, self._gone + sum(known) if known and len(known) == len(totals) else None

    def line(self) -> str:
        """The sum in one line."""
        done, total = self.sum()
        return f"{self._what}: {told(done, total, self._clock() - self._began)}"


class _Lines:
    """A line now and then, for logs and pipes."""

    def __init__(self, line: Callable[[], str], stream: TextIO, every: float) -> None:
        self._stopped = threading.Event()

        def run() -> None:
            while not self._stopped.wait(every):
                print(line(), file=stream, flush=True)

        self._thread = threading.Thread(target=run, name="progress", daemon=True)
        self._thread.start()

    def add(self, task: Task, name: str, count: Count) -> None:
        """Lines tell the sum alone."""

    def remove(self, task: Task) -> None:
        """Likewise."""

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

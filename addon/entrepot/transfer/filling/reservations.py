"""Who writes which bytes just now: two connections may bring the same ones, and only one writes.

What was hashed, or given to a reader, is never written over. Who comes second waits for the first,
finds the bytes there, and compares.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from entrepot.intervals import Span
from entrepot.transfer.growing_file import GrowingFile


@dataclass(frozen=True, slots=True)
class Reserved:
    """The next bytes of what one has."""

    stop: int
    """Up to where they are alike."""
    is_here: bool
    """Whether they are in the file; else they are the caller's alone to write."""


class Reservations:
    """Of one file, for any thread."""

    def __init__(self, file: GrowingFile) -> None:
        self._file = file
        self._changed = file.changed
        self._spans: list[Span] = []
        self._waiting = 0

    @contextlib.contextmanager
    def next(self, start: int, stop: int) -> Iterator[Reserved]:
        """What of the bytes from ``start`` up to ``stop`` comes next: at least one of them."""
        with self._changed:
            self._wait_for(start)
            here = self._file.covered.end_from(start)
            if here > start:
                reserved = Reserved(min(here, stop), is_here=True)
            else:
                others = [begin for begin, _ in self._spans if begin > start]
                gap = self._file.covered.gap_end(start, stop)
                reserved = Reserved(min([gap, *others]), is_here=False)
                self._spans.append((start, reserved.stop))
        try:
            yield reserved
        finally:
            if not reserved.is_here:
                self._free((start, reserved.stop))

    def _wait_for(self, offset: int) -> None:
        self._waiting += 1
        while any(start <= offset < stop for start, stop in self._spans):
            self._changed.wait()
        self._waiting -= 1

    def _free(self, span: Span) -> None:
        with self._changed:
            self._spans.remove(span)
            if self._waiting:
                self._changed.notify_all()

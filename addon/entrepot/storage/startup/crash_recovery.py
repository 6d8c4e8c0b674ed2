"""The leftovers of kill -9 or a power cut: rows and files of ``blobs`` are made to agree again.

A kill between the rename of a file and its row, or between a row's end and that of its file, leaves
one of them alone, a damaged row names what is not there, and a lost database leaves all files. They
are looked for while the proxy runs already: what is asked for before is checked when it is used
(``diskcache_db.blob_rows``). The disk is read by whoever runs this; the database is asked, and rows
are removed, in short turns of the thread that owns it. A file is committed within one such turn,
rename and row: so a file that is there before a turn, and that no row names in it, is nobody's for
ever.

Unfinished downloads and pushes that a kill leaves are in ``partials``; whether there was one,
in ``clean_shutdown``.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial as bind
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import diskcache

from entrepot.storage.diskcache_db import rows
from entrepot.storage.diskcache_db.diskcache_disk import is_value_name
from entrepot.storage.diskcache_db.rows import Row

_FILES_A_TURN = 200
T = TypeVar("T")


class Turn(Protocol):
    """Runs a function on the thread that owns the database, and returns what it does."""

    def __call__(self, function: Callable[[], T], /) -> T:
        """Raise what the function raises."""


class Recovery:
    """One pass over rows, then over files. Raises what SQLite and the disk raise."""

    def __init__(self, cache: diskcache.Cache, turn: Turn, pause: Callable[[], None]) -> None:
        """``pause`` is called between turns."""
        self._cache = cache
        self._folder = Path(cache.directory)
        self._turn = turn
        self._pause = pause

    def remove_rows(self) -> int:
        """Remove the rows that have not their whole file; how many."""
        removed, number = 0, None
        while found := self._turn(bind(rows.rows_after, self._cache, number)):
            for row in found:
                if not rows.is_whole(self._folder, row):
                    removed += self._turn(bind(self._remove, row))
            number = found[-1].number
            self._pause()
        return removed

    def remove_files(self) -> int:
        """Remove the files that have no row; how many."""
        removed, left = 0, self._names()
        while names := list(islice(left, _FILES_A_TURN)):
            for name in self._turn(bind(self._unknown, names)):
                rows.remove_file(self._folder / name)
                removed += 1
            self._pause()
        return removed

    def _remove(self, row: Row) -> bool:
        now = rows.row_of(self._cache, row.number)
        if now is None or rows.is_whole(self._folder, now):
            return False  # it was used meanwhile, and put right, or evicted
        rows.remove_row(self._cache, now.number, now.filename)
        return True

    def _unknown(self, names: list[str]) -> list[str]:
        return [name for name in names if not rows.has_file(self._cache, name)]

    def _names(self) -> Iterator[str]:
        """The names of all values' files, as rows have them."""
        for first in _entries(self._folder):
            for second in _entries(self._folder / first):
                for name in _entries(self._folder / first / second):
                    if is_value_name(f"{first}/{second}/{name}"):
                        yield f"{first}/{second}/{name}"


def _entries(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as found:
            return [entry.name for entry in found]
    except (NotADirectoryError, FileNotFoundError):
        return []

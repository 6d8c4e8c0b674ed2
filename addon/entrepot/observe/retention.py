"""How long records are kept, and how many: the oldest go first, some at a time.

Sums are small, and stay (``sums``).
"""

import sqlite3

from entrepot.observe.sums import Sums
from entrepot.observe.words import Words

DUE_SECONDS = 60.0
_AT_ONCE = 2000
"""Rows; some milliseconds."""
_SPARE_PAGES = 512
"""Free pages that the file keeps for what comes next."""


class Retention:
    """Drops what is older than ``seconds``, and the oldest beyond ``size`` bytes."""

    def __init__(self, seconds: float, size: int) -> None:
        self._seconds = seconds
        self._size = size
        self._next = 0.0

    def is_due(self, now: float) -> bool:
        """Whether to look again; ``now`` by a clock that is never set."""
        return now >= self._next

    def done(self, now: float, *, more: bool) -> None:
        """Remember that it was looked at."""
        self._next = now if more else now + DUE_SECONDS

    def drop_some(self, connection: sqlite3.Connection, words: Words, wall: float) -> bool:
        """Drop some records, within a transaction of the caller's; whether there are more to."""
        before = wall - self._seconds
        dropped = _drop_older(connection, before)
        if dropped:
            return True
        _drop_pulls_and_words(connection, words, wall)
        if _used(connection) > self._size and _drop_oldest(connection):
            return True
        Sums.drop_old(connection, wall)
        return _give_back(connection)


def _drop_pulls_and_words(connection: sqlite3.Connection, words: Words, wall: float) -> None:
    """Drop what belonged to records that are gone: it counts towards the size too."""
    oldest = connection.execute("SELECT min(at) FROM requests").fetchone()[0]
    before = wall if oldest is None else oldest
    connection.execute("DELETE FROM pulls WHERE ended < ?", (before,))
    words.drop_unused(connection, before)


def _drop_older(connection: sqlite3.Connection, before: float) -> int:
    return connection.execute(
        "DELETE FROM requests WHERE id IN"
        " (SELECT id FROM requests WHERE at < ? ORDER BY at LIMIT ?)",
        (before, _AT_ONCE),
    ).rowcount


def _drop_oldest(connection: sqlite3.Connection) -> int:
    return connection.execute(
        "DELETE FROM requests WHERE id IN (SELECT id FROM requests ORDER BY at LIMIT ?)",
        (_AT_ONCE,),
    ).rowcount


def _used(connection: sqlite3.Connection) -> int:
    """Bytes that rows and indices take."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size")


def _give_back(connection: sqlite3.Connection) -> bool:
    """Give some of the free pages back to the file system; whether there are more."""
    free = _pragma(connection, "freelist_count") - _SPARE_PAGES
    if free <= 0:
        return False
    connection.execute(f"PRAGMA incremental_vacuum({min(free, _SPARE_PAGES)})").fetchall()
    return free > _SPARE_PAGES


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)

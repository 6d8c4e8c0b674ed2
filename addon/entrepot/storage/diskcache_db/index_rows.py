"""The rows of the database ``index``: short texts, each for 90 days since it was last used.

They may take a sixteenth of the store's limit; beyond that, what would expire first goes first.
What each of them says is in ``keys``, and who reads them in the modules above: links, decisions,
tags, hosts, lists.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import diskcache

from entrepot.storage.diskcache_db.rows import (
    RowDamagedError,
    reading_row,
    remove_key,
    remove_row,
    text_of,
)

INDEX_SECONDS = 90 * 24 * 3600.0
_SHARE = 16
_LEAST_BYTES = 16 * 1024**2
_MOST_AT_ONCE = 100
# Only by a range of the time is its index used, and rows that never expire are left out.
_FIRST_TO_EXPIRE = (
    "SELECT rowid, CAST(filename AS BLOB) FROM Cache WHERE expire_time > 0 AND expire_time < ?"
    " ORDER BY expire_time LIMIT ?"
)
_NEXT_KEY = (
    "SELECT CAST(key AS BLOB) FROM Cache WHERE key >= ? AND key < ? AND raw = 1"
    " ORDER BY key LIMIT 1"
)
_ROWS = (
    "SELECT rowid, CAST(key AS BLOB), CAST(value AS BLOB), expire_time FROM Cache"
    " WHERE key >= ? AND key < ? AND raw = 1 ORDER BY key LIMIT ?"
)
_REMOVE = "DELETE FROM Cache WHERE rowid = ?"


def most_bytes(limit: int) -> int:
    """What the index may take of a store of ``limit`` bytes.

    Some 16 MiB in any case, which are knowledge of 10,000 objects, but no more than a half.
    """
    return min(max(limit // _SHARE, _LEAST_BYTES), limit // 2)


class IndexRows:
    """What is known, by key. Methods raise what diskcache and SQLite raise."""

    def __init__(self, cache: diskcache.Cache, clock: Callable[[], float]) -> None:
        self._cache = cache
        self._clock = clock
        self._most: int | None = None
        ((self._page,),) = cache._sql("PRAGMA page_size").fetchall()  # noqa: SLF001 diskcache has no such call

    def bound(self, most: int) -> None:
        """Take no more than so many bytes from now on."""
        self._most = most

    def volume(self) -> int:
        """How many bytes the database takes."""
        ((pages,),) = self._cache._sql("PRAGMA page_count").fetchall()  # noqa: SLF001 the same
        return int(pages * self._page)

    def has(self, key: str, *, renew: bool = True) -> bool:
        """Whether there is such a row; using it gives it the whole time again, where ``renew``."""
        value, expires = self._get(key)
        if value is None or not renew:
            return value is not None
        left = INDEX_SECONDS if expires is None else expires - self._clock()
        if not INDEX_SECONDS / 2 <= left <= INDEX_SECONDS:  # more: the clock was set back
            self._cache.touch(key, expire=INDEX_SECONDS)
        return True

    def put(self, key: str, value: str = "1", seconds: float = INDEX_SECONDS) -> None:
        """Set a row."""
        self._cache.set(key, value, expire=seconds)
        if self._most is not None and self.volume() > self._most:
            self._remove_first(math.inf)

    def expire(self) -> bool:
        """Remove some of the rows that have expired; whether there may be more."""
        return self._remove_first(self._clock()) == _MOST_AT_ONCE

    def document(self, key: str) -> Mapping[str, Any]:
        """A row that is a JSON object; empty where there is none that can be read."""
        row, _ = self._get(key)
        try:
            document = json.loads(row) if row else {}
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    def number(self, key: str) -> int | None:
        """A row that is a number and stays; None where there is none that can be read."""
        row, _ = self._get(key)
        known = row is not None and len(row) < 20 and row.isascii() and row.isdigit()
        return int(row) if row is not None and known else None

    def moment(self, key: str) -> float | None:
        """A row that is a time of day; None where there is none that can be read."""
        row, _ = self._get(key)
        try:
            return float(row) if row is not None else None
        except ValueError:
            return None

    def keep_number(self, key: str, value: int) -> None:
        """Set a number that stays."""
        self._cache.set(key, str(value))

    def delete(self, key: str) -> None:
        """Remove a row."""
        self._cache.delete(key)

    # By their order; nothing of this counts as use

    def next_key(self, start: str, end: str) -> str | None:
        """The first key from ``start`` to before ``end``."""
        row = self._cache._sql(_NEXT_KEY, (start, end)).fetchone()  # noqa: SLF001 the same
        return None if row is None else text_of(row[0])

    def between(self, start: str, end: str, most: int) -> Iterator[tuple[int, str, str]]:
        """Numbers, keys from ``start`` to before ``end`` in order, and values.

        Those of what expired are empty.
        """
        now = self._clock()
        found = self._cache._sql(_ROWS, (start, end, most)).fetchall()  # noqa: SLF001 the same
        for number, key, value, expires in found:
            sound = expires is None or expires > now
            yield number, text_of(key), text_of(value) if sound else ""

    def peek(self, key: str) -> str:
        """A row's text; empty where there is none, or it has expired."""
        return next((value for _, _, value in self.between(key, f"{key} ", 1)), "")

    def remove_numbers(self, numbers: list[int]) -> None:
        """Remove rows by number: even a row whose key is no text has one."""
        if numbers:
            with self._cache.transact():
                for number in numbers:
                    self._cache._sql(_REMOVE, (number,))  # noqa: SLF001 the same

    def _remove_first(self, before: float) -> int:
        sql = self._cache._sql  # noqa: SLF001 diskcache removes all that expired, in one go
        with self._cache.transact():
            found = sql(_FIRST_TO_EXPIRE, (before, _MOST_AT_ONCE)).fetchall()
            for number, filename in found:
                remove_row(self._cache, number, None if filename is None else text_of(filename))
        return len(found)

    def _get(self, key: str) -> tuple[str | None, float | None]:
        """A row's text and when it ends; one that cannot be read is removed."""
        try:
            with reading_row():
                value, expires = self._cache.get(key, expire_time=True)
                return (value if isinstance(value, str) else None), expires
        except RowDamagedError:
            remove_key(self._cache, key)
            return None, None

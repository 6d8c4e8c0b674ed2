"""The database ``index``: small rows of text, each for 90 days since it was last used."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import diskcache

from entrepot.database import RowDamagedError, reading_row, remove_key

INDEX_SECONDS = 90 * 24 * 3600.0


class Index:
    """What is known, by key. Methods raise what diskcache and SQLite raise."""

    def __init__(self, cache: diskcache.Cache, clock: Callable[[], float]) -> None:
        self._cache = cache
        self._clock = clock

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

    def _get(self, key: str) -> tuple[str | None, float | None]:
        """A row's text and when it ends; one that cannot be read is removed."""
        try:
            with reading_row():
                value, expires = self._cache.get(key, expire_time=True)
                return (value if isinstance(value, str) else None), expires
        except RowDamagedError:
            remove_key(self._cache, key)
            return None, None

"""Migration of a data folder of an earlier version: the rows *shown*, by which lists are made.

They follow from the rows *given* (``past_grants``) and are written, in turns, for the manifests
that are held, before the first list (``catalog_index``); then a row says that it is done. An empty
folder needs nothing.
"""

import time
from collections.abc import Callable

import diskcache

from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.index_rows import IndexRows
from entrepot.storage.diskcache_db.manifest_rows import ManifestRows
from entrepot.storage.diskcache_db.rows import text_of

_DONE = "shown"
_TURN_SECONDS = 0.005
_NEXT = (
    "SELECT CAST(key AS BLOB), CAST(value AS BLOB), expire_time FROM Cache"
    " WHERE key > CAST(? AS TEXT) AND key < ? AND raw = 1 ORDER BY key LIMIT 50"
)


class Backfill:
    """The migration, in turns of one thread. Methods raise what diskcache and SQLite raise."""

    def __init__(
        self,
        cache: diskcache.Cache,
        index: IndexRows,
        manifests: ManifestRows,
        clock: Callable[[], float],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` is the time of day, ``steady`` is never set."""
        self._cache = cache
        self._index = index
        self._manifests = manifests
        self._clock = clock
        self._steady = steady
        self._after = keys.GIVEN.start.encode()
        self._is_done = index.number(_DONE) is not None

    def turn(self) -> bool:
        """Go on for some milliseconds; whether it is done."""
        until = self._steady() + _TURN_SECONDS
        while not self._is_done and self._steady() < until:
            self._some()
        return self._is_done

    def _some(self) -> None:
        found = self._cache._sql(_NEXT, (self._after, keys.GIVEN.end)).fetchall()  # noqa: SLF001 diskcache has no such call
        with self._cache.transact():
            for key, value, expires in found:
                self._take(text_of(key), text_of(value), expires)
        if found:
            self._after = found[-1][0]
        else:
            self._index.keep_number(_DONE, 1)
            self._is_done = True

    def _take(self, key: str, value: str, expires: object) -> None:
        left = expires - self._clock() if isinstance(expires, float) else 0.0
        try:
            repository, digest, label = keys.read_given(key)
        except ValueError:
            return  # a damaged row
        if left > 0 and self._manifests.has(repository.origin, digest):
            self._index.put(keys.shown(repository, label, digest), value, left)

"""Room on the disk: the size limit and the reserve, kept before bytes are written.

diskcache checks its limit after a write and then removes ten rows at a time; with blobs of
gigabytes that is late and much. Here a download claims its size first: what was used least
recently goes, one object at a time, then unfinished downloads that nobody continues, until
both the limit and a reserve of free disk hold. Where that cannot be, nothing is evicted, the
claim is refused, and the caller serves without storing.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import diskcache

from entrepot.database import remove_row, text_of

_RESERVE = 1024**3
_RESERVE_SHARE = 20
"""The reserve is 1 GiB, or a twentieth of a disk smaller than 20 GiB."""

# What a row gives back: its file's bytes, or those in the row itself.
_SUM = "SELECT COALESCE(SUM(size + length(COALESCE(value, ''))), 0) FROM Cache"
_OLDEST = (
    "SELECT rowid, CAST(filename AS BLOB), size + length(COALESCE(value, '')) FROM Cache"
    " ORDER BY access_time LIMIT 1"
)
# A clock that was set back leaves uses in the future, which would keep those rows for ever and
# evict whatever is new instead.
_NO_FUTURE = "UPDATE Cache SET access_time = ? WHERE access_time > ?"


class Room:
    """The bound on what committed objects and the files in ``partials`` take together."""

    def __init__(
        self,
        blobs: diskcache.Cache,
        partials: Path,
        limit: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._blobs = blobs
        self._partials = partials
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._claims: dict[Path, int] = {}

    def claim(self, path: Path, size: int) -> bool:
        """Hold room for a running download until it is ``size`` bytes long; False if there is none.

        Claiming again changes the size; a refusal keeps the claim as it was.
        """
        with self._lock:
            granted = self._make(size, path)
            if granted:
                self._claims[path] = size
            return granted

    def release(self, path: Path) -> None:
        """End a claim: the file is committed, gone, or waits to be continued."""
        with self._lock:
            self._claims.pop(path, None)

    def make(self, size: int) -> bool:
        """Make room for ``size`` bytes that are written at once; whether there is."""
        with self._lock:
            return self._make(size, None)

    def _make(self, size: int, own: Path | None) -> bool:
        """Make room for ``size`` bytes, those that the file ``own`` already has among them."""
        others = {path: want for path, want in self._claims.items() if path != own}
        unwritten = size - (_length(own) if own is not None else 0)
        unwritten += sum(want - _length(path) for path, want in others.items())
        idle = {p: _length(p) for p in self._partials.iterdir() if p != own and p not in others}
        used = int(self._blobs.volume()) + sum(idle.values()) + sum(others.values())
        wanted = max(used + size - self._limit, self._reserve() + unwritten - self._free())
        if wanted > self._evictable() + sum(idle.values()):
            return False
        freed = self._evict(wanted)
        for path in sorted(idle, key=_modified):
            if freed >= wanted:
                break
            freed += idle[path]
            path.unlink(missing_ok=True)
        return True

    def _evictable(self) -> int:
        sql = self._blobs._sql  # noqa: SLF001 its own sum leaves out what is kept in rows
        ((size,),) = sql(_SUM).fetchall()
        return int(size)

    def _evict(self, wanted: int) -> int:
        """Remove what was used least recently until ``wanted`` bytes are free; how many are."""
        sql = self._blobs._sql  # noqa: SLF001 diskcache evicts by tens of rows, this by bytes
        freed, now = 0, self._clock()
        if wanted > 0:
            sql(_NO_FUTURE, (now, now))
        while freed < wanted:
            row = sql(_OLDEST).fetchone()
            if row is None:
                break
            number, filename, size = row
            remove_row(self._blobs, number, None if filename is None else text_of(filename))
            freed += size
        return freed

    def _free(self) -> int:
        state = os.statvfs(self._partials)
        return state.f_bavail * state.f_frsize

    def _reserve(self) -> int:
        state = os.statvfs(self._partials)
        return min(_RESERVE, state.f_blocks * state.f_frsize // _RESERVE_SHARE)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0

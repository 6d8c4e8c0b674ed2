"""Room on the disk: the size limit and the reserve, kept before bytes are written.

diskcache checks its limit after a write and then removes ten rows at a time; with blobs of
gigabytes that is late and much. Here a download claims its size first: what was used least
recently goes, one object at a time, then unfinished downloads that nobody continues, until
both the limit and a reserve of free disk hold. Where that cannot be, nothing is evicted, the
claim is refused, and the caller serves without storing.
"""

import os
import threading
from pathlib import Path

import diskcache

_RESERVE = 1024**3
_RESERVE_SHARE = 20
"""The reserve is 1 GiB, or a twentieth of a disk smaller than 20 GiB."""


class Room:
    """The bound on what committed objects and the files in ``partials`` take together."""

    def __init__(self, blobs: diskcache.Cache, partials: Path, limit: int) -> None:
        self._blobs = blobs
        self._partials = partials
        self._limit = limit
        self._lock = threading.Lock()
        self._claims: dict[Path, int] = {}

    def claim(self, path: Path, size: int) -> bool:
        """Hold room for a running download until it is ``size`` bytes long; False if there is none.

        Claiming again changes the size; a refusal keeps the claim as it was.
        """
        with self._lock:
            before = self._claims.pop(path, None)
            granted = self._make(size, _length(path))
            if granted:
                self._claims[path] = size
            elif before is not None:
                self._claims[path] = before
            return granted

    def release(self, path: Path) -> None:
        """End a claim: the file is committed, gone, or waits to be continued."""
        with self._lock:
            self._claims.pop(path, None)

    def make(self, size: int) -> bool:
        """Make room for ``size`` bytes that are written at once; whether there is."""
        with self._lock:
            return self._make(size, 0)

    def _make(self, size: int, written: int) -> bool:
        claimed = sum(self._claims.values())
        idle = self._idle()
        committed = int(self._blobs.volume())
        unwritten = sum(want - _length(path) for path, want in self._claims.items())
        over = committed + sum(idle.values()) + claimed + size - written - self._limit
        short = self._reserve() + unwritten + size - written - self._free()
        wanted = max(over, short)
        if wanted > committed + sum(idle.values()):
            return False
        freed = self._evict(wanted)
        for path in sorted(idle, key=_modified):
            if freed >= wanted:
                break
            freed += idle[path]
            path.unlink(missing_ok=True)
        return freed >= wanted

    def _idle(self) -> dict[Path, int]:
        """Partial files that no download is writing, with their sizes."""
        return {
            path: _length(path) for path in self._partials.iterdir() if path not in self._claims
        }

    def _evict(self, wanted: int) -> int:
        """Remove what was used least recently until ``wanted`` bytes are free; how many are."""
        sql = self._blobs._sql  # noqa: SLF001 diskcache evicts by tens of rows, this by bytes
        freed = 0
        while freed < wanted:
            row = sql(
                "SELECT key, size + length(COALESCE(value, '')) FROM Cache"
                " ORDER BY access_time LIMIT 1"
            ).fetchone()
            if row is None:
                break
            self._blobs.delete(row[0])
            freed += row[1]
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

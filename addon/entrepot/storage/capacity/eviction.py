"""What gives way where bytes do not fit into the size limit and the reserve.

In this order:

1. unfinished downloads that nobody continues, the one longest so first;
2. drafts of pushes beyond what they may take above the limit, or where the disk is too full, the
   one that rested longest first;
3. committed objects that are not pinned, the least recently used first, one at a time.
"""

import contextlib
import os
import time
from collections.abc import Callable

import diskcache

from entrepot.storage.capacity.evicted import Evicted
from entrepot.storage.capacity.size_limit import SizeLimit
from entrepot.storage.diskcache_db.database import bytes_in_rows
from entrepot.storage.diskcache_db.rows import remove_row, text_of
from entrepot.storage.partials.map_file import discard

_COLUMNS = (
    "SELECT rowid, CAST(filename AS BLOB), size + length(COALESCE(value, '')),"
    " CAST(COALESCE(access_time, 0) AS REAL), key >= 'blob ' AND key < 'blob!' FROM Cache"
)
_BY_AGE = " ORDER BY access_time LIMIT 1"
_UNPINNED = " WHERE NOT EXISTS (SELECT 1 FROM Pinned WHERE Pinned.key = Cache.key)"
_PINNED_BYTES = (
    "SELECT COALESCE(SUM(size + length(COALESCE(value, ''))), 0) FROM Pinned"
    " JOIN Cache ON Cache.key = Pinned.key AND raw = 1"
)
PIN_SHARE = 2
"""Which part of the limit pins may take: a half."""
# A clock that was set back leaves uses in the future, which would keep those rows for ever and
# evict whatever is new instead.
_NO_FUTURE = "UPDATE Cache SET access_time = ? WHERE access_time > ?"


class Eviction:
    """Makes room. Methods raise what diskcache, SQLite and the disk raise."""

    def __init__(
        self,
        size_limit: SizeLimit,
        blobs: diskcache.Cache,
        evicted: Evicted,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``evicted`` hears of each object that gave way; ``clock`` is the time of day."""
        self._size_limit = size_limit
        self._idle = size_limit.idle
        self._drafts = size_limit.drafts
        self._blobs = blobs
        self._evicted = evicted
        self._clock = clock
        self._pinned = 0
        self.count_pinned()

    def make_room(self, size: int) -> bool:
        """Make room for ``size`` bytes that are written at once; whether there is."""
        with self._size_limit.lock:
            return self.make_room_locked(size)

    def most_pinned(self) -> int:
        """How many bytes pins may take."""
        return self._size_limit.limit // PIN_SHARE

    def count_pinned(self) -> None:
        """Count anew what is pinned, after a change of it."""
        ((pinned,),) = self._blobs._sql(_PINNED_BYTES).fetchall()  # noqa: SLF001 diskcache has no such call
        self._pinned = int(pinned) if pinned <= self.most_pinned() else 0

    # Under the lock

    def make_room_locked(self, extra: int, *, evict: bool = True, on_disk: int = 0) -> bool:
        """Make room for ``extra`` bytes, of which so many are ``on_disk`` already.

        Objects give way only where ``evict``. False, and nothing gave way, where it does not do.
        """
        over, under = self._size_limit.short(extra, on_disk)
        if max(over, under) <= 0:
            return True
        excess, drafts = self._size_limit.drafts_excess, self._drafts.loose()
        rest = max(over - min(excess(), drafts), under - drafts) - self._idle.granted
        if rest > 0 and (not evict or rest > self.evictable()):
            return False
        while max(over, under) > 0 and (freed := self._remove_idle()):
            over, under = over - freed, under - freed
        while under > 0 or (over > 0 and excess()):
            before, freed = excess(), self.give_up_draft()
            if not freed:
                break
            over -= before - excess()
            under -= freed
        self._evict_objects(max(over, under))
        return True

    def evictable(self) -> int:
        """The bytes of all committed objects that are not pinned."""
        return int(self._blobs.reset("size")) + bytes_in_rows(self._blobs) - self._pinned

    def give_up_draft(self) -> int:
        """Remove the draft that rested longest; its size, or 0 where there is none."""
        for path, file in self._drafts.by_path.items():
            if file.lost is not None and file.granted:
                self._drafts.pop(path)
                with contextlib.suppress(OSError):  # its owner closes it soon, and sees for itself
                    os.truncate(path, 0)
                    path.unlink()
                file.lost()
                return file.granted
        return 0

    def _remove_idle(self) -> int:
        """Remove the unfinished download that is idle longest; its size, or 0."""
        if not self._idle.by_path:
            return 0
        path, file = next(iter(self._idle.by_path.items()))
        self._idle.pop(path)
        discard(path)
        return file.granted

    def _evict_objects(self, wanted: int) -> None:
        """Remove what was used least recently until ``wanted`` bytes are free."""
        sql = self._blobs._sql  # noqa: SLF001 diskcache evicts by tens of rows, this by bytes
        freed, now = 0, self._clock()
        oldest = _COLUMNS + (_UNPINNED if self._pinned else "") + _BY_AGE
        if wanted > 0:
            sql(_NO_FUTURE, (now, now))
        while freed < wanted:
            row = sql(oldest).fetchone()
            if row is None:
                break
            number, filename, size, used, is_blob = row
            remove_row(self._blobs, number, None if filename is None else text_of(filename))
            self._evicted.add(is_blob=bool(is_blob), size=size, age=max(0.0, now - used))
            freed += size

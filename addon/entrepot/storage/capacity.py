"""Room on the disk: the size limit and the reserve, kept before bytes are written.

diskcache checks its limit after a write and then removes ten rows at a time; with blobs of
gigabytes that is late and much. Here a file claims room for its bytes as they come. Where the
limit and a reserve of free disk would not hold, unfinished downloads that nobody continues go
first, then drafts of pushes beyond what they may take, then the objects that were used least
recently, one at a time. What is only announced evicts nothing:

- A *download* that could never fit, or not beside those that run, is refused at once. Of the
  announced size of another, only so much counts for that as it brings in a minute: one that does
  not move gives way.
- A *draft* is nobody's before the registry has taken the bytes: it evicts nothing. It may take
  what is free, and all drafts together an eighth of the limit more; the one that rested longest
  gives way. Once the registry has them, room is made as for any object.

All sums are kept as they change, here or by the database: no claim reads a table or a folder.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from math import inf
from pathlib import Path

import diskcache

from entrepot.storage.capacity_holds import Hold, Holds
from entrepot.storage.diskcache_db.database import bytes_in_rows, remove_row, text_of
from entrepot.storage.startup.data_folder import PUSHED

_MIB = 1024**2
_GIB = 1024**3
_RESERVE = _GIB
_RESERVE_SHARE = 20
"""The reserve is 1 GiB, or a twentieth of a disk smaller than 20 GiB."""

_STEP = 16 * _MIB
"""How far a claim may go ahead of the bytes, so that not each few of them need one."""
_FREE_SHARE = 64
"""Which part of what is free one claim may take ahead."""
_AHEAD_SHARE = 4
"""Where others must go for it, a claim goes ahead by this part of what has come."""

_HEAD_START = 16 * _MIB
_HEAD_START_SHARE = 1024
"""What a download counts beyond what it brings in a minute: 16 MiB, or this part of the limit."""

_DRAFT_SHARE = 8
_MOST_FOR_DRAFTS = 8 * _GIB
_REST_SECONDS = 10.0
"""A draft that claimed nothing for so long gives way to one that does."""

_OLDEST = (
    "SELECT rowid, CAST(filename AS BLOB), size + length(COALESCE(value, '')) FROM Cache"
    " ORDER BY access_time LIMIT 1"
)
# A clock that was set back leaves uses in the future, which would keep those rows for ever and
# evict whatever is new instead.
_NO_FUTURE = "UPDATE Cache SET access_time = ? WHERE access_time > ?"


class Fit(Enum):
    """Whether an announced size has room."""

    YES = auto()
    NOT_NOW = auto()
    """Only without what runs now."""
    NEVER = auto()


class Room:
    """The bound on what committed objects and the files in ``partials`` take together."""

    def __init__(
        self,
        blobs: diskcache.Cache,
        partials: Path,
        limit: int,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        beside: Callable[[], int] = lambda: 0,
    ) -> None:
        """``clock`` is the time of day, ``steady`` is never set; all in ``partials`` is idle.

        ``beside`` is what else counts towards the limit: the bytes of ``index``.
        """
        self._blobs = blobs
        self._partials = partials
        self._limit = limit
        self._clock = clock
        self._steady = steady
        self._beside = beside
        self._lock = threading.Lock()
        self._downloads = Holds()
        self._drafts = Holds()
        self._idle = Holds()
        self._allowance = min(limit // _DRAFT_SHARE, _MOST_FOR_DRAFTS)
        self._head_start = min(_HEAD_START, limit // _HEAD_START_SHARE)
        for path in sorted(partials.iterdir(), key=_modified):
            self._rest(path)

    # Downloads

    def hold(self, path: Path) -> None:
        """Keep a file that a download is to continue, or to make."""
        with self._lock:
            self._running(path)

    def admit(self, path: Path, size: int | None) -> Fit:
        """Whether a download may become so long (None: nobody knows); evicts nothing."""
        with self._lock:
            now, file, length = self._steady(), self._running(path), _length(path)
            file.began, file.start, file.announced = now, length, size
            self._downloads.set(path, file, length, length)
            size = length if size is None else size
            others = sum(
                other.expected(now, self._head_start) - other.granted
                for other in self._downloads.by_path.values()
                if other is not file
            )
            running = self._downloads.granted - length
            over, under = self._short(size - length)
            rows, drafts = self._evictable(), self._loose_drafts()
            over -= rows + self._idle.granted + min(self._excess(), drafts)
            under -= rows + self._idle.granted + drafts
            if max(over - running, under - running) > 0:
                return Fit.NEVER
            return Fit.NOT_NOW if max(over, under) + others > 0 else Fit.YES

    def claim(self, path: Path, end: int, written: int = 0, *, evict: bool = True) -> int:
        """Make room for a download to be ``end`` bytes long, of which it has ``written``.

        Returns how long it may be, which is perhaps more, or 0 where there is no room. Objects are
        evicted only where ``evict``.
        """
        with self._lock:
            file = self._running(path)
            granted = max(file.granted, written)
            self._downloads.set(path, file, granted, max(written, file.written))
            if end > granted:
                ahead = end + min(_STEP, max(0, written - file.start) // _AHEAD_SHARE)
                goal = self._free(file, end, granted) or next(
                    (
                        goal
                        for goal in (_within(file, end, ahead), end)
                        if self._make(goal - granted, evict=evict)
                    ),
                    0,
                )
                if not goal:
                    return 0
                granted = goal
            self._downloads.set(path, file, granted, file.written)
            return granted

    def release(self, path: Path) -> None:
        """End a claim: the file is committed, gone, or waits to be continued."""
        with self._lock:
            self._downloads.pop(path)
            self._drafts.pop(path)
            if not path.name.startswith(PUSHED):
                self._rest(path)

    # Drafts

    def draft(
        self, path: Path, end: int, lost: Callable[[], None], announced: int | None = None
    ) -> bool:
        """Make room for a draft to be ``end`` bytes long; False where there is none.

        Evicts nothing. ``lost`` is called when it gives way later: the file is gone then.
        """
        with self._lock:
            now = self._steady()
            file = self._drafts.pop(path) or Hold(now)
            self._drafts.set(path, file, file.granted, file.granted)
            file.used, file.lost, extra = now, lost, end - file.granted
            if max(end, announced or 0) > self._limit:
                return False
            missing = self._missing_for(extra)
            if missing > self._loose_drafts(now - _REST_SECONDS):
                return False
            while missing > 0 and (freed := self._give_way()):
                missing -= freed
            self._drafts.set(path, file, end, file.granted)
            return True

    def keep(self, path: Path) -> None:
        """Let a draft not give way any more: the registry has the bytes."""
        with self._lock:
            if file := self._drafts.by_path.get(path):
                file.lost = None

    def adopt(self, path: Path) -> bool:
        """Make room for what was a draft, to be committed now; False where there is none."""
        with self._lock:
            file = self._drafts.pop(path)
            size = 0 if file is None else file.granted
            return self._make(size, on_disk=size)

    def make(self, size: int) -> bool:
        """Make room for ``size`` bytes that are written at once; whether there is."""
        with self._lock:
            return self._make(size)

    # Under the lock

    def _running(self, path: Path) -> Hold:
        """A download's file, which is idle no more."""
        file = self._downloads.by_path.get(path)
        if file is None:
            self._idle.pop(path)
            length = _length(path)
            file = Hold(self._steady(), start=length)
            self._downloads.set(path, file, length, length)
        return file

    def _rest(self, path: Path) -> None:
        self._idle.pop(path)
        if length := _length(path):
            self._idle.set(path, Hold(self._steady()), length, length)

    def _short(self, extra: int, on_disk: int = 0) -> tuple[int, int]:
        """By how much ``extra`` bytes would be over the limit, and into the reserve."""
        state = os.statvfs(self._partials)
        reserve = min(_RESERVE, state.f_blocks * state.f_frsize // _RESERVE_SHARE)
        unwritten = self._downloads.unwritten + self._drafts.unwritten + extra - on_disk
        used = int(self._blobs.volume()) + self._idle.granted + self._downloads.granted
        over = used + self._beside() + self._excess() + extra - self._limit
        return over, reserve + unwritten - state.f_bavail * state.f_frsize

    def _free(self, file: Hold, end: int, granted: int) -> int:
        """How long a download may be for what is free already; 0 where that is not enough."""
        left = -max(self._short(end - granted))
        return 0 if left < 0 else _within(file, end, end + min(_STEP, left // _FREE_SHARE))

    def _make(self, extra: int, *, evict: bool = True, on_disk: int = 0) -> bool:
        over, under = self._short(extra, on_disk)
        if max(over, under) <= 0:
            return True
        drafts = self._loose_drafts()
        rest = max(over - min(self._excess(), drafts), under - drafts) - self._idle.granted
        if rest > 0 and (not evict or rest > self._evictable()):
            return False
        while max(over, under) > 0 and self._idle.by_path:
            path, file = next(iter(self._idle.by_path.items()))
            self._idle.pop(path)
            path.unlink(missing_ok=True)
            over, under = over - file.granted, under - file.granted
        while under > 0 or (over > 0 and self._excess()):
            excess, freed = self._excess(), self._give_way()
            if not freed:
                break
            over -= excess - self._excess()
            under -= freed
        self._evict(max(over, under))
        return True

    def _evictable(self) -> int:
        return int(self._blobs.reset("size")) + bytes_in_rows(self._blobs)

    def _evict(self, wanted: int) -> None:
        """Remove what was used least recently until ``wanted`` bytes are free."""
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

    # Drafts, under the lock

    def _excess(self) -> int:
        """What drafts take beyond what they may take above the limit."""
        return max(0, self._drafts.granted - self._allowance)

    def _loose_drafts(self, unused_since: float = inf) -> int:
        """Bytes of drafts that may give way, and claimed nothing since a time."""
        drafts = self._drafts.by_path.values()
        return sum(f.granted for f in drafts if f.lost is not None and f.used <= unused_since)

    def _missing_for(self, extra: int) -> int:
        """By how much drafts have not the place for ``extra`` bytes more."""
        over, under = self._short(0)
        over += self._drafts.granted - self._excess() - self._allowance
        return max(over, under) + extra

    def _give_way(self) -> int:
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


def _within(file: Hold, end: int, goal: int) -> int:
    """``goal``, but not beyond what is announced."""
    return goal if file.announced is None else max(end, min(goal, file.announced))


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

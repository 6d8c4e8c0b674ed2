"""Downloads claim their bytes as they come; what is only announced evicts nothing.

A download that could never fit, or not beside those that run, is refused at once. Those that run
count with what they will bring in a minute at their pace, not with their announced size: so one
that does not move keeps no other out. Objects are evicted only for bytes that have come, and for a
quarter of those more. Of a file that is filled in any order the bytes count that came, not its
length.
"""

from enum import Enum, auto
from pathlib import Path

from entrepot.storage.capacity.eviction import Eviction
from entrepot.storage.capacity.holds import Hold
from entrepot.storage.capacity.size_limit import SizeLimit
from entrepot.storage.errors import Health, guarded
from entrepot.storage.partials.partial_map import bytes_held

_STEP = 16 * 1024**2
"""How far a claim may go ahead of the bytes, so that not each few of them need one."""
_FREE_SHARE = 64
"""Which part of what is free one claim may take ahead."""
_AHEAD_SHARE = 4
"""Where others must go for it, a claim goes ahead by this part of what has come."""

_HEAD_START = 16 * 1024**2
_HEAD_START_SHARE = 1024
"""What a download counts beyond what it brings in a minute: 16 MiB, or this part of the limit."""


class Fit(Enum):
    """Whether an announced size has room."""

    YES = auto()
    NOT_NOW = auto()
    """Only without what runs now."""
    NEVER = auto()


class DownloadClaims:
    """What the files of downloads may take, by path."""

    def __init__(self, size_limit: SizeLimit, eviction: Eviction, health: Health) -> None:
        self._size_limit = size_limit
        self._eviction = eviction
        self._health = health
        self._lock = size_limit.lock
        self._downloads = size_limit.downloads
        self._idle = size_limit.idle
        self._drafts = size_limit.drafts
        self._head_start = min(_HEAD_START, size_limit.limit // _HEAD_START_SHARE)

    @guarded
    def has_room(self) -> bool:
        """Whether a byte can be had at all: the disk has its reserve, or what may give way for it.

        Others may have filled the disk.
        """
        with self._lock:
            _, under = self._size_limit.short(0)
            loose = self._idle.granted + self._drafts.loose()
            return under <= 0 or under <= loose + self._eviction.evictable()

    @guarded
    def hold(self, path: Path) -> None:
        """Keep what is there of an unfinished download, which is to be continued, or made."""
        with self._lock:
            self._running(path)

    @guarded
    def admit(self, path: Path, size: int | None) -> Fit:
        """Whether a download may have so many bytes (None: nobody knows); evicts nothing."""
        with self._lock:
            now, file, begun = self._size_limit.steady(), self._running(path), bytes_held(path)
            file.began, file.start, file.announced = now, begun, size
            self._downloads.set(path, file, begun, begun)
            return self._fit(begun if size is None else size, file, now)

    @guarded
    def claim(self, path: Path, end: int, written: int = 0, *, evict: bool = True) -> int:
        """Make room for a download to have ``end`` bytes, of which ``written`` have come.

        Returns how many it may have, perhaps more, or 0 where there is no room. Objects are evicted
        only where ``evict``.
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
                        for goal in (file.within(end, ahead), end)
                        if self._eviction.make_room_locked(goal - granted, evict=evict)
                    ),
                    0,
                )
                if not goal:
                    return 0
                granted = goal
            self._downloads.set(path, file, granted, file.written)
            return granted

    @guarded
    def release(self, path: Path) -> None:
        """End a claim: the file is committed, gone, or waits to be continued."""
        with self._lock:
            self._downloads.pop(path)
            self._size_limit.rest(path)

    # Under the lock

    def _running(self, path: Path) -> Hold:
        """A download's file, which is idle no more."""
        file = self._downloads.by_path.get(path)
        if file is None:
            self._idle.pop(path)
            held = bytes_held(path)
            file = Hold(self._size_limit.steady(), start=held)
            self._downloads.set(path, file, held, held)
        return file

    def _fit(self, size: int, file: Hold, now: float) -> Fit:
        """Whether a download may have ``size`` bytes, beside the others or without them."""
        others = sum(
            other.expected(now, self._head_start) - other.granted
            for other in self._downloads.by_path.values()
            if other is not file
        )
        running = self._downloads.granted - file.granted
        over, under = self._size_limit.short(size - file.granted)
        rows, drafts = self._eviction.evictable(), self._drafts.loose()
        over -= rows + self._idle.granted + min(self._size_limit.drafts_excess(), drafts)
        under -= rows + self._idle.granted + drafts
        if max(over - running, under - running) > 0:
            return Fit.NEVER
        return Fit.NOT_NOW if max(over, under) + others > 0 else Fit.YES

    def _free(self, file: Hold, end: int, granted: int) -> int:
        """How many bytes it may have by what is free already; 0 where that is not enough."""
        left = -max(self._size_limit.short(end - granted))
        return 0 if left < 0 else file.within(end, end + min(_STEP, left // _FREE_SHARE))

"""Drafts, the files of pushes: they take what is free, and evict nothing before they are accepted.

Anybody may begin a push. So before the registry has accepted one, it may take what is free, and
all drafts together an eighth of the limit more; the one that rested longest gives way. Once the
registry has the bytes, room is made as for any object.
"""

from collections.abc import Callable
from pathlib import Path

from entrepot.storage.capacity.eviction import Eviction
from entrepot.storage.capacity.holds import Hold
from entrepot.storage.capacity.size_limit import SizeLimit
from entrepot.storage.errors import Health, guarded

_REST_SECONDS = 10.0
"""A draft that claimed nothing for so long gives way to one that does."""


class DraftClaims:
    """What the files of pushes may take, by path."""

    def __init__(self, size_limit: SizeLimit, eviction: Eviction, health: Health) -> None:
        self._size_limit = size_limit
        self._eviction = eviction
        self._health = health
        self._lock = size_limit.lock
        self._drafts = size_limit.drafts

    @guarded
    def claim(
        self, path: Path, end: int, lost: Callable[[], None], announced: int | None = None
    ) -> bool:
        """Make room for a draft to be ``end`` bytes long; False where there is none.

        Evicts nothing. ``lost`` is called when it gives way later: the file is gone then.
        """
        with self._lock:
            now = self._size_limit.steady()
            file = self._drafts.pop(path) or Hold(now)
            self._drafts.set(path, file, file.granted, file.granted)
            file.used, file.lost, extra = now, lost, end - file.granted
            if max(end, announced or 0) > self._size_limit.limit:
                return False
            missing = self._missing_for(extra)
            if missing > self._drafts.loose(now - _REST_SECONDS):
                return False
            while missing > 0 and (freed := self._eviction.give_up_draft()):
                missing -= freed
            self._drafts.set(path, file, end, file.granted)
            return True

    @guarded
    def keep(self, path: Path) -> None:
        """Let a draft not give way any more: the registry has the bytes."""
        with self._lock:
            if file := self._drafts.by_path.get(path):
                file.lost = None

    @guarded
    def adopt(self, path: Path) -> bool:
        """Make room for what was a draft, to be committed now; False where there is none."""
        with self._lock:
            file = self._drafts.pop(path)
            size = 0 if file is None else file.granted
            return self._eviction.make_room_locked(size, on_disk=size)

    @guarded
    def make_room(self, size: int) -> bool:
        """Make room for a file of ``size`` bytes that is on the disk, to be committed now.

        False where there is none.
        """
        with self._lock:
            return self._eviction.make_room_locked(size, on_disk=size)

    @guarded
    def release(self, path: Path) -> None:
        """End a claim: the file is committed, or gone."""
        with self._lock:
            self._drafts.pop(path)

    def _missing_for(self, extra: int) -> int:
        """By how much drafts have not the place for ``extra`` bytes more."""
        over, under = self._size_limit.short(0)
        allowance, excess = self._size_limit.allowance, self._size_limit.drafts_excess()
        over += self._drafts.granted - excess - allowance
        return max(over, under) + extra

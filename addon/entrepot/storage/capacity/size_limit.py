"""The size limit and the reserve of free disk: what is taken, and how much is missing for more.

Committed objects, the database ``index`` and the claims of unfinished files count together.
diskcache checks its limit after a write and then removes ten rows at a time; with blobs of
gigabytes that is late and much. Here each file claims its bytes as they come
(``download_claims``, ``draft_claims``), and where they do not fit others give way one at a time
(``eviction``).

A file counts with the bytes that are in it, which of a sparse one is less than its length.

All sums are kept as they change, here or by the database: no claim reads a table or a folder.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import diskcache

from entrepot.storage.capacity.holds import Hold, Holds
from entrepot.storage.partials.map_file import mapped_by
from entrepot.storage.partials.partial_map import bytes_held

_GIB = 1024**3
_RESERVE = _GIB
_RESERVE_SHARE = 20
"""The reserve is 1 GiB, or a twentieth of a disk smaller than 20 GiB."""

_DRAFT_SHARE = 8
_MOST_FOR_DRAFTS = 8 * _GIB


class SizeLimit:
    """The bound on what committed objects and the files in ``partials`` take together.

    ``lock`` is held while anything here is read or changed.
    """

    def __init__(
        self,
        blobs: diskcache.Cache,
        partials: Path,
        limit: int,
        steady: Callable[[], float] = time.monotonic,
        beside: Callable[[], int] = lambda: 0,
    ) -> None:
        """All in ``partials`` is idle; ``steady`` is a clock that is never set.

        ``beside`` is what else counts towards the limit: the bytes of ``index``.
        """
        self.limit = limit
        self.steady = steady
        self.lock = threading.Lock()
        self.downloads = Holds()
        """Those that run."""
        self.idle = Holds()
        """Unfinished downloads that nobody continues, the one longest so first."""
        self.drafts = Holds()
        self.allowance = min(limit // _DRAFT_SHARE, _MOST_FOR_DRAFTS)
        """What all drafts together may take above the limit."""
        self._blobs = blobs
        self._partials = partials
        self._beside = beside
        for path in sorted(partials.iterdir(), key=_modified):
            if mapped_by(path) is None:
                self.rest(path)

    def rest(self, path: Path) -> None:
        """Count a file as idle."""
        self.idle.pop(path)
        if held := bytes_held(path):
            self.idle.set(path, Hold(self.steady()), held, held)

    def drafts_excess(self) -> int:
        """What drafts take beyond what they may take above the limit."""
        return max(0, self.drafts.granted - self.allowance)

    def short(self, extra: int, on_disk: int = 0) -> tuple[int, int]:
        """By how much ``extra`` bytes would be over the limit, and into the reserve.

        So many of them are ``on_disk`` already. Neither is positive where they fit.
        """
        free, reserve = self._disk()
        unwritten = self.downloads.unwritten + self.drafts.unwritten + extra - on_disk
        used = int(self._blobs.volume()) + self.idle.granted + self.downloads.granted
        over = used + self._beside() + self.drafts_excess() + extra - self.limit
        return over, reserve + unwritten - free

    def usage(self) -> "Usage":
        """What is taken of the limit and the disk."""
        unfinished = self.idle.granted + self.downloads.granted + self.drafts.granted
        held = int(self._blobs.volume()) + self._beside()
        return Usage(len(self._blobs), held + unfinished, unfinished, self.limit, *self._disk())

    def room(self) -> "DiskRoom":
        """What could be held on this disk now, whatever the limit says; nothing is under way."""
        free, reserve = self._disk()
        held = int(self._blobs.volume()) + self.idle.granted + self._beside()
        return DiskRoom(held + max(0, free - reserve), free, reserve)

    def _disk(self) -> tuple[int, int]:
        """What is free of the disk, and what is left free of it."""
        state = os.statvfs(self._partials)
        reserve = min(_RESERVE, state.f_blocks * state.f_frsize // _RESERVE_SHARE)
        return state.f_bavail * state.f_frsize, reserve


@dataclass(frozen=True, slots=True)
class Usage:
    """What the store takes; all but ``objects`` in bytes."""

    objects: int
    """Blobs, manifests and lists."""
    held: int
    """Objects, databases and unfinished files."""
    unfinished: int
    """What unfinished files take of it; drafts of pushes may be above the limit."""
    limit: int
    free: int
    reserve: int
    """Of the disk."""


@dataclass(frozen=True, slots=True)
class DiskRoom:
    """What a disk has room for, in bytes: ``attainable`` in all, with what is held already."""

    attainable: int
    free: int
    reserve: int


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0

"""Which bytes an unfinished download has, and how that is known again after a kill.

A download that comes in order needs no map: its file is as long as what came. The first piece that
is written elsewhere makes one beside it (``map_file``). What a map says is never stored without the
hash of the whole at the end; it saves asking twice. What it says of bytes behind the end of the
file, or in a hole of it, does not count.
"""

import os
import threading
from collections.abc import Iterable
from heapq import nlargest
from pathlib import Path

from entrepot.bounded_map import BoundedMap
from entrepot.intervals import Intervals, Span
from entrepot.storage.partials.map_file import (
    MOST_SLOTS,
    boot_id,
    map_of,
    mark_of,
    read_map,
    seed_of,
    write_anew,
    write_slot,
)

_MOST_GROWING = 256
"""How many intervals can grow in their slots."""
_KEPT_SHARE = 4
"""A full map is written anew with this part of its slots for what is on the disk, and the rest."""
_BLOCK = 512
"""What ``st_blocks`` counts in."""


def bytes_held(path: Path) -> int:
    """What an unfinished file takes: its length, or what it covers where it has a map.

    Or what the file system says that it takes, if that is more; with the map. 0 where there is
    none. Raises OSError.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        state, said = os.fstat(file), read_map(path, boot_id())
        if said is None:
            return state.st_size
        taken = min(state.st_size, state.st_blocks * _BLOCK)
        return max(taken, _written(file, said.spans).total) + map_of(path).lstat().st_size
    finally:
        os.close(file)


def covered_by(path: Path, file: int, boot: bytes | None = None) -> Intervals:
    """What is there of a download whose ``file`` is open: as its map says, else up to a hole.

    ``boot`` is the id of this boot. Raises OSError.
    """
    said = read_map(path, boot_id() if boot is None else boot)
    if said is not None:
        return _written(file, said.spans)
    return Intervals([(0, _sought(file, 0, os.SEEK_HOLE))])


class PartialMap:
    """The map of one download that runs. Its methods are for any thread, and raise OSError."""

    def __init__(self, path: Path, covered: Intervals, durable: Intervals, boot: bytes) -> None:
        """Write it: see :meth:`create` and :meth:`resume`."""
        self.covered = covered
        """What would be known of the file after a kill."""
        self._durable = durable
        self._path = path
        self._boot = boot
        self._seed = seed_of(boot)
        self._lock = threading.Lock()
        self._growing: BoundedMap[int, tuple[int, int]] = BoundedMap(_MOST_GROWING)
        """By where an interval ends: its slot, and where it begins."""
        self._writings = 0
        self._map, self._slots = write_anew(path, boot, durable, self._others())
        self._is_open = True

    @classmethod
    def create(
        cls, path: Path, covered: Iterable[Span] = (), boot: bytes | None = None
    ) -> "PartialMap":
        """Begin the map of the download in ``path``, before a first piece is written elsewhere."""
        return cls(path, Intervals(covered), Intervals(), boot_id() if boot is None else boot)

    @classmethod
    def resume(cls, path: Path, file: int, boot: bytes | None = None) -> "PartialMap | None":
        """Go on with the map that is there, of an open ``file``; None where there is none."""
        boot = boot_id() if boot is None else boot
        said = read_map(path, boot)
        if said is None:
            return None
        return cls(path, _written(file, said.spans), _written(file, said.durable), boot)

    def note(self, start: int, stop: int) -> None:
        """Remember bytes that were written into the file just now."""
        with self._lock:
            if not self._is_open or stop <= start:
                return
            self.covered.add(start, stop)
            slot, begun = self._growing.pop(start) or (self._slots, start)
            if slot >= MOST_SLOTS:
                self._write_anew()
                return
            write_slot(self._map, slot, (begun, stop), self._seed)
            self._slots = max(self._slots, slot + 1)
            self._growing.put(stop, (slot, begun))

    def sync(self, file: int) -> None:
        """Have the bytes of the open ``file`` that are noted now outlive an end of the machine.

        Takes as long as the disk takes for them; others note meanwhile.
        """
        with self._lock:
            self._growing.clear()
            noted, slots, writings = Intervals(self.covered), self._slots, self._writings
        os.fdatasync(file)
        with self._lock:
            if not self._is_open:
                return
            self._durable = noted
            if writings != self._writings or self._slots >= MOST_SLOTS:
                self._write_anew()
                return
            write_slot(self._map, self._slots, mark_of(slots), self._seed)
            self._slots += 1
            written = os.dup(self._map)
        try:
            os.fdatasync(written)
        finally:
            os.close(written)

    def close(self) -> None:
        """Close it, and leave it beside its file. Twice is harmless."""
        with self._lock:
            if self._is_open:
                os.close(self._map)
                self._is_open = False

    # Under the lock

    def _others(self) -> Intervals:
        """What is noted and not on the disk yet, as far as is known."""
        return Intervals(part for span in self.covered for part in self._durable.gaps(*span))

    def _write_anew(self) -> None:
        """Write what is known in as few slots as it needs: of too much, the largest intervals."""
        durable, others = _largest(self._durable), _largest(self._others())
        written, slots = write_anew(self._path, self._boot, durable, others)
        os.close(self._map)
        self._map, self._slots = written, slots
        self._durable, self.covered = durable, Intervals([*durable, *others])
        self._growing.clear()
        self._writings += 1


def _largest(spans: Iterable[Span]) -> Intervals:
    return Intervals(nlargest(MOST_SLOTS // _KEPT_SHARE, spans, key=lambda span: span[1] - span[0]))


def _written(file: int, spans: Iterable[Span]) -> Intervals:
    """What of these intervals an open file has: not beyond its end, nor in a hole."""
    found, size = Intervals(), os.fstat(file).st_size
    for begin, end in spans:
        start, stop = begin, min(end, size)
        while start < stop:
            hole = _sought(file, start, os.SEEK_HOLE)
            found.add(start, min(hole, stop))
            following = stop if hole >= stop else _sought(file, hole, os.SEEK_DATA)
            if following <= start:  # somebody cuts it just now
                break
            start = following
    return found


def _sought(file: int, offset: int, what: int) -> int:
    """Where the next hole or data of a file begins; its end where there is none."""
    try:
        return os.lseek(file, offset, what)
    except OSError:  # ENXIO, or a file system that does not know holes
        return os.fstat(file).st_size

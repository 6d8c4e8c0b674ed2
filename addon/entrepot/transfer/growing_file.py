"""A file that is filled in any order and that many clients follow: what a download grows into.

Nothing is served as whole before it is verified: the last byte of a whole body, and of what
resumes one, is held back until the digest fits. Who asks for just a part verifies by itself, and
is given the registry's bytes as they come (``early``). Followers live on one event loop; writers
wake them from their threads, and those alone whose bytes are there.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from pathlib import Path

from entrepot.intervals import Intervals
from entrepot.protocol.messages import CHUNK, BodyError
from entrepot.storage.partials.map_file import discard, forget_map
from entrepot.storage.partials.partial_map import PartialMap, covered_by
from entrepot.transfer.bodies import FileBody
from entrepot.transfer.errors import DownloadError, GaveWay, MismatchError, StorageLostError
from entrepot.transfer.waiters import Waiters

_SYNC_BYTES = 256 * 1024 * 1024
"""After so much of a file with gaps it is put on the disk: more is not lost with the machine."""
_GATHER_SECONDS = 0.005
"""How long a follower waits for a chunk to fill: one costs the loop the same whatever its size."""


class State(Enum):
    """How far the writers are."""

    RUNNING = auto()
    VERIFIED = auto()
    FAILED = auto()


class GrowingFile:
    """The file at ``path``: what an earlier process left there, and what is written into it.

    ``write_at`` is for any thread, ``restart`` and ``end`` for the one that leads; a body and what
    it waits for belong to ``loop``. ``changed`` is held while ``covered`` is looked at.
    """

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        """Open or create it. Raises OSError."""
        self.path = path
        self.size: int | None = None
        """How many bytes it will have; None while nobody knows."""
        self.state = State.RUNNING
        self.error: Exception | None = None
        """What the download failed of."""
        self.changed = threading.Condition()
        self.on_wait: Callable[[int, int | None, bool], None] = lambda *_: None
        """Hears on the loop from where up to where a client waits, and whether for just a part."""
        self._waiters = Waiters(loop, self.changed)
        self._followers: set[int] = set()
        self._whole: set[int] = set()
        """Those that read to the end."""
        self._writers = 0
        self._unsynced = 0
        """Bytes that were written since a sync of the map began."""
        self._is_syncing = False
        self._is_shut = False
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._map = PartialMap.resume(path, self._file)
            self.covered = (
                covered_by(path, self._file) if self._map is None else Intervals(self._map.covered)
            )
        except OSError:
            os.close(self._file)
            raise
        self._mapping = threading.Lock()

    @property
    def written(self) -> int:
        """Bytes in the file, those of an earlier process included."""
        return self.covered.total

    def end_from(self, offset: int) -> int:
        """Where the bytes end that are there from ``offset`` on."""
        with self.changed:
            return self.covered.end_from(offset)

    # The writers

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write ``data`` there, and wake who waits for it. Raises OSError."""
        with self.changed:
            if self._is_shut:
                raise DownloadError("the download has ended")
            self._writers += 1
            is_next = offset == self.covered.end_from(0)
        view, at = memoryview(data), offset
        try:
            if self._map is None and not is_next:
                self._begin_map()
            while view:
                count = os.pwrite(self._file, view, at)
                view = view[count:]
                at += count
            if self._map is not None:
                self._map.note(offset, at)
        finally:
            with self.changed:
                self._writers -= 1
                self.covered.add(offset, at)
                self._waiters.wake_between(offset, at)
                if self._is_shut:
                    self.changed.notify_all()
                self._sync_in_time(at - offset)

    def _begin_map(self) -> None:
        """Keep from now on which bytes are there: the file is to have gaps. Raises OSError."""
        with self._mapping:
            if self._map is None:
                with self.changed:
                    covered = list(self.covered)
                self._map = PartialMap.create(self.path, covered)

    def _sync_in_time(self, written: int) -> None:
        """Have what has gaps put on the disk now and then, beside what goes on. Under the lock."""
        self._unsynced += written
        if self._map is None or self._unsynced < _SYNC_BYTES or self._is_syncing or self._is_shut:
            return
        self._unsynced, self._is_syncing = 0, True
        run = partial(self._sync_beside, self._map, os.dup(self._file))
        threading.Thread(target=run, name="sync", daemon=True).start()

    def _sync_beside(self, known: PartialMap, file: int) -> None:
        try:
            known.sync(file)
        except OSError:  # who writes next, or commits, hears of it
            pass
        finally:
            os.close(file)
            self._is_syncing = False

    def read_back(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes that were written before."""
        return os.pread(self._file, count, offset)

    def restart(self) -> None:
        """Forget what is there."""
        os.truncate(self._file, 0)
        if self._map is not None:
            self._map.close()
            self._map = None
        forget_map(self.path)
        with self.changed:
            self.covered.clear()

    def shut(self) -> None:
        """Let nothing more be written, and wait for who writes just now."""
        with self.changed:
            self._is_shut = True
            self.changed.wait_for(lambda: not self._writers)

    def end(self, error: Exception | None = None) -> None:
        """Tell followers how it ended: without ``error`` all bytes are there, and verified."""
        with self.changed:
            self.error = error
            self.state = State.VERIFIED if error is None else State.FAILED
            self._waiters.wake_all()

    def fail(self, start: int, stop: int, error: BodyError) -> None:
        """Cut those who wait for just a part in between: it cannot be had."""
        with self.changed:
            self._waiters.fail(start, stop, error)

    def sync(self) -> None:
        """Have the kernel put the bytes on the disk. Raises OSError."""
        if self._map is None:
            os.fdatasync(self._file)
        else:
            self._map.sync(self._file)

    def discard_if_empty(self) -> None:
        """Leave no empty file behind a fetch that never began."""
        if self.written == 0:
            discard(self.path)

    def close(self) -> None:
        """Close it: nothing writes, and no follower is just opening it."""
        os.close(self._file)
        if self._map is not None:
            self._map.close()

    # Followers

    @property
    def is_followed(self) -> bool:
        """Whether any client waits for the bytes; for any thread."""
        return bool(self._followers)

    @property
    def is_followed_to_end(self) -> bool:
        """Whether any client waits for the rest of them; for any thread."""
        return bool(self._whole)

    @property
    def followers(self) -> int:
        """How many clients wait for the bytes; for any thread."""
        return len(self._followers)

    def add_follower(self, follower: int, *, early: bool) -> None:
        """Count one who reads; by a number, since bodies may end on any thread."""
        self._followers.add(follower)
        if not early:
            self._follow_to_end(follower)

    def remove_follower(self, follower: int) -> None:
        """Count this one no more; twice is harmless."""
        self._followers.discard(follower)
        self._whole.discard(follower)

    def _follow_to_end(self, follower: int) -> None:
        with self.changed:
            self._whole.add(follower)
            self.changed.notify_all()

    def body(self, start: int, stop: int | None, *, early: bool = False) -> FileBody:
        """The bytes from ``start`` to ``stop`` (None: the end, not known yet), as they come."""
        return FileBody(os.dup(self._file), start, stop, self, early=early)

    async def readable_end(
        self, offset: int, stop: int | None = None, *, early: bool = False
    ) -> int:
        """Wait for bytes after ``offset`` that a transfer up to ``stop`` may have; where they end.

        ``offset`` itself where the file is verified and ends there. ``early``: also the last byte
        before the digest fits. Raises :class:`BodyError` where the rest will not come:
        :class:`StorageLostError` where it can be had upstream.
        """
        gathered = False
        while True:
            with self.changed:
                if self.state is State.VERIFIED:
                    return self.written
                end, most = self._readable(offset, stop, early=early)
                if end > offset and (gathered or end == most or end - offset >= CHUNK):
                    return end
                future = None if end > offset else self._wait(offset, stop, early=early)
            if future is None:
                await asyncio.sleep(_GATHER_SECONDS)
                gathered = True
                continue
            if not future.done():
                self.on_wait(offset, stop, early)
            await future

    def _readable(self, offset: int, stop: int | None, *, early: bool) -> tuple[int, int | None]:
        """Where the bytes end that a transfer may have, and at most will. Under the lock."""
        if early and isinstance(self.error, MismatchError):
            raise self._cut()
        end = self.covered.end_from(offset)
        if stop is None:  # one byte always stays back
            return end - 1, None
        most = stop if early else stop - 1
        return min(end, most), most

    def _wait(self, offset: int, stop: int | None, *, early: bool) -> "asyncio.Future[None]":
        """What is done when there is more to read. Under the lock."""
        if self.state is State.FAILED:
            raise self._cut()
        if not early and stop is not None and offset >= stop - 1:
            return self._waiters.until_settled()
        byte = self.covered.end_from(offset) if stop is None else offset
        return self._waiters.until_there(byte, early=early)

    async def settled(self) -> None:
        """Wait until it is known how the download ends. Raises as :meth:`readable_end`."""
        with self.changed:
            is_running = self.state is State.RUNNING
            future = self._waiters.until_settled() if is_running else None
        if future is not None:
            self._follow_to_end(id(future))
            try:
                await future
            finally:
                self.remove_follower(id(future))
        if self.state is State.FAILED:
            raise self._cut()

    def _cut(self) -> BodyError:
        """What a follower is told whose transfer ends before its last byte."""
        if isinstance(self.error, OSError):
            return StorageLostError(f"storing it failed: {self.error.strerror}")
        if isinstance(self.error, GaveWay):
            return StorageLostError(str(self.error))
        return BodyError(str(self.error))

"""A file that one thread writes and many clients follow: what a download grows into.

Nothing is served as whole before it is verified: the last byte of every transfer, ranges
included, is held back until the digest fits. Followers live on one event loop; the writer wakes
them from its thread.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path

from entrepot.protocol.messages import CHUNK, BodyError
from entrepot.transfer.bodies import FileBody
from entrepot.transfer.errors import GaveWay, StorageLostError

_LARGEST_READ = 1024 * 1024
_GATHER_SECONDS = 0.005
"""How long a follower waits for a chunk to fill: one costs the loop the same whatever its size."""


class State(Enum):
    """How far the writer is."""

    RUNNING = auto()
    VERIFIED = auto()
    FAILED = auto()


class GrowingFile:
    """The file at ``path``: what an earlier process left there, and what is appended to it.

    ``append``, ``restart`` and ``end`` are for the one writer, on whatever thread it runs; a body
    and what it waits for belong to ``loop``.
    """

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        """Open or create it. Raises OSError."""
        self.path = path
        self.size: int | None = None
        """How many bytes it will have; None while nobody knows."""
        self.state = State.RUNNING
        self.error: Exception | None = None
        """What the writer failed of."""
        self._loop = loop
        self._waiting: list[asyncio.Future[None]] = []
        self._is_waking = False
        self._followers: set[int] = set()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.written = os.fstat(self._file).st_size
        """Bytes in the file, those of an earlier process included."""

    # The writer

    def append(self, data: bytes) -> None:
        """Write ``data`` at the end, and wake who waits for it. Raises OSError."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self._file, view, self.written)
            view = view[count:]
            self.written += count
        if not self._is_waking:
            self._wake_soon()

    def chunks(self) -> Iterator[bytes]:
        """What is there, from the beginning; less than ``written`` where the file shrank."""
        offset = 0
        while data := self.read_back(offset, min(_LARGEST_READ, self.written - offset)):
            yield data
            offset += len(data)

    def read_back(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes that were written before."""
        return os.pread(self._file, count, offset)

    def restart(self) -> None:
        """Forget what is there."""
        os.truncate(self._file, 0)
        self.written = 0

    def end(self, error: Exception | None = None) -> None:
        """Tell followers how it ended: without ``error`` all bytes are there, and verified."""
        self.error = error
        self.state = State.VERIFIED if error is None else State.FAILED
        if not self._is_waking:
            self._wake_soon()

    def sync(self) -> None:
        """Have the kernel put the bytes on the disk. Raises OSError."""
        os.fdatasync(self._file)

    def discard_if_empty(self) -> None:
        """Leave no empty file behind a fetch that never began."""
        if self.written == 0:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close it: nothing writes, and no follower is just opening it."""
        os.close(self._file)

    # Followers

    @property
    def is_followed(self) -> bool:
        """Whether any client waits for the bytes; for any thread."""
        return bool(self._followers)

    @property
    def followers(self) -> int:
        """How many clients wait for the bytes; for any thread."""
        return len(self._followers)

    def add_follower(self, follower: int) -> None:
        """Count one who reads; by a number, since bodies may end on any thread."""
        self._followers.add(follower)

    def remove_follower(self, follower: int) -> None:
        """Count this one no more; twice is harmless."""
        self._followers.discard(follower)

    def body(self, start: int, stop: int | None) -> FileBody:
        """The bytes from ``start`` to ``stop`` (None: the end, not known yet), as they come."""
        return FileBody(os.dup(self._file), start, stop, growth=self)

    async def readable_end(self, offset: int, stop: int | None = None) -> int:
        """Wait for bytes after ``offset`` that a transfer up to ``stop`` may have; where they end.

        ``offset`` itself where the file is verified and ends there. Raises :class:`BodyError`
        where the rest will not come: :class:`StorageLostError` where it can be had upstream.
        """
        gathered = False
        while True:
            if self.state is State.VERIFIED:
                return self.written
            # One byte always stays back: nobody has a whole transfer before it is verified.
            end = self.written - 1 if stop is None else min(self.written, stop - 1)
            if end - offset >= CHUNK or (end > offset and gathered):
                return end
            if end > offset:
                await asyncio.sleep(_GATHER_SECONDS)
                gathered = True
            elif self.state is State.FAILED:
                raise self._cut()
            else:
                await self._change()

    async def settled(self) -> None:
        """Wait until it is known how the writer ends. Raises as :meth:`readable_end`."""
        while self.state is State.RUNNING:
            await self._change()
        if self.state is State.FAILED:
            raise self._cut()

    def _cut(self) -> BodyError:
        """What a follower is told whose transfer ends before its last byte."""
        if isinstance(self.error, OSError):
            return StorageLostError(f"storing it failed: {self.error.strerror}")
        if isinstance(self.error, GaveWay):
            return StorageLostError(str(self.error))
        return BodyError(str(self.error))

    async def _change(self) -> None:
        future = self._loop.create_future()
        self._waiting.append(future)
        await future

    def _wake(self) -> None:
        self._is_waking = False
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _wake_soon(self) -> None:
        """Wake the followers; one call is enough for all that was written before it ran."""
        self._is_waking = True
        with contextlib.suppress(RuntimeError):  # the loop has ended before the thread
            self._loop.call_soon_threadsafe(self._wake)

"""A file that one thread writes and many read: what a download grows into.

Nothing is served as whole before it is verified: the last byte of every transfer, ranges
included, is held back until the digest fits. Readers live on one event loop; the writer tells
them from its thread.
"""

import asyncio
import contextlib
import os
from enum import Enum, auto
from pathlib import Path

from entrepot.protocol.messages import CHUNK, BodyError
from entrepot.transfer.bodies import FileBody, StorageLostError

_GATHER_SECONDS = 0.005
"""How long a reader waits for a chunk to fill: one costs the loop the same whatever its size."""


class GaveWay(Exception):  # noqa: N818 what came is right, and stays; only the rest is not fetched here
    """The writer ended for the good of others; readers may go on from where the bytes come from."""


class State(Enum):
    """How far the writer is."""

    RUNNING = auto()
    VERIFIED = auto()
    FAILED = auto()


class GrowingFile:
    """The file at ``path``, behind what an earlier process left there."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        """Open or create it. Raises OSError."""
        self.path = path
        self.size: int | None = None
        """How long it will be; None while nobody knows."""
        self.state = State.RUNNING
        self.error: Exception | None = None
        self._loop = loop
        self._waiting: list[asyncio.Future[None]] = []
        self._notified = False
        self._readers: set[int] = set()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._written = os.fstat(self._file).st_size

    @property
    def written(self) -> int:
        """Bytes in the file, those of an earlier process included."""
        return self._written

    @property
    def is_read(self) -> bool:
        """Whether anybody waits for the bytes; for any thread."""
        return bool(self._readers)

    def joined(self, reader: int) -> None:
        """Take in that somebody reads; by a number, since bodies may end on any thread."""
        self._readers.add(reader)

    def left(self, reader: int) -> None:
        """Take in that this one reads no more; twice is harmless."""
        self._readers.discard(reader)

    def restart(self) -> None:
        """Forget what is there."""
        os.truncate(self._file, 0)
        self._written = 0

    def discard_if_empty(self) -> None:
        """Leave no empty file behind a fetch that never began."""
        if self._written == 0:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close it: nothing writes, and no reader is just opening it."""
        os.close(self._file)

    def body(self, start: int, stop: int | None) -> FileBody:
        """The bytes from ``start`` to ``stop`` (None: the end, not known yet)."""
        return FileBody(os.dup(self._file), start, stop, growth=self)

    async def beyond(self, offset: int, stop: int | None = None) -> int:
        """Wait until a transfer up to ``stop`` may have bytes after ``offset``; where they end."""
        gathered = False
        while True:
            if self.state is State.VERIFIED:
                return self._written
            # One byte always stays back: nobody has a whole transfer before it is verified.
            end = self._written - 1 if stop is None else min(self._written, stop - 1)
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
        """Wait until it is known how the download ends. Raises as :meth:`beyond`."""
        while self.state is State.RUNNING:
            await self._change()
        if self.state is State.FAILED:
            raise self._cut()

    def _cut(self) -> BodyError:
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
        self._notified = False
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _notify(self) -> None:
        if self._notified:
            return  # the loop has not come to the last one yet, and will see this as well
        self._notified = True
        with contextlib.suppress(RuntimeError):  # the loop has ended before the thread
            self._loop.call_soon_threadsafe(self._wake)

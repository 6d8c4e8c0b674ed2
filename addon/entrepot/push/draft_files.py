"""Drafts: files that grow from what clients push, until it is known what came of the upload.

The event loop hands over what passes, and never waits: one thread for all drafts claims room
and writes. What it has not come to yet waits in memory, bounded for all drafts together. Where
the disk is slower than the push, the draft is given up, since waiting for it would slow the push;
what was written is removed. So it is where there is no room for it, or others need what it has
(``storage.capacity.draft_claims``): before the registry has taken a push, it costs no object its
place.

A draft is hashed when the push is over and was accepted (``storage.digest_check``): before, that
would take time from the push (0.5 s of CPU a GiB), perhaps for nothing, and by which algorithm is
not known. Hashing and ``fdatasync`` have threads of their own, so that no other draft waits for
them.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from entrepot.protocol.identifiers import Digest
from entrepot.storage.digest_check import damage_of
from entrepot.storage.errors import StoreError, storage_reason
from entrepot.storage.store_thread import StoreThread

_MIB = 1024 * 1024
MOST_WAITING = 32 * _MIB
_BATCH = _MIB
"""Bytes written at once: what passes comes in pieces of 64 KiB at most, and each change of thread
costs both of them."""

_SETTLED_AT_ONCE = 2


class BufferBudget:
    """How many bytes wait in memory for the disk, and how many may; for any thread."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.most = most
        self._left = most
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Count bytes that wait from now on; False where they are too many."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def give(self, count: int) -> None:
        """Count bytes that wait no longer."""
        with self._lock:
            self._left += count

    @property
    def is_scarce(self) -> bool:
        """Whether more than half of it is taken."""
        return self._left < self.most // 2


class Drafts:
    """Makes drafts in the store's folder, and has the threads that work on them."""

    def __init__(self, store_thread: StoreThread) -> None:
        self.buffered = BufferBudget()
        self._store = store_thread.store
        self._on_store = store_thread.run_from_thread
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="draft")
        self.batching: set[Draft] = set()
        """Those that hold bytes in memory until they are worth a write."""
        self._settler = ThreadPoolExecutor(_SETTLED_AT_ONCE, thread_name_prefix="settle")

    def begin(self) -> "Draft":
        """Begin a draft, which costs nothing until its first byte comes."""
        return Draft(self)

    def file(self) -> tuple[int, Path]:
        """Make an empty file. Raises :class:`StoreError`."""
        return self._store.partials.draft()

    def claim(self, path: Path, end: int, lost: Callable[[], None], announced: int | None) -> bool:
        """Make room for a file; see ``DraftClaims.claim``. Raises :class:`StoreError`."""
        return self._on_store(partial(self._store.drafts.claim, path, end, lost, announced))

    def keep(self, path: Path) -> None:
        """Have a file not give way to others any more. Raises :class:`StoreError`."""
        self._on_store(partial(self._store.drafts.keep, path))

    def release(self, path: Path) -> None:
        """Hold room for it no longer."""
        with contextlib.suppress(StoreError, RuntimeError):
            self._on_store(partial(self._store.drafts.release, path))

    def submit(self, step: Callable[[], None]) -> None:
        """Have the writer do this after all that it was given before."""
        with contextlib.suppress(RuntimeError):  # it has ended, and so have the drafts
            self._writer.submit(step)

    async def settled(self, last: Callable[[], str | None]) -> str | None:
        """Do what may take long, once the writer has done what it was given before."""
        await asyncio.wrap_future(self._writer.submit(lambda: None))
        return await asyncio.get_running_loop().run_in_executor(self._settler, last)

    def close(self) -> None:
        """End the threads, after what they are at."""
        self._settler.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown(wait=True)


class Draft:
    """The bytes of one upload, in order; made by :class:`Drafts`."""

    def __init__(self, drafts: Drafts) -> None:
        self.size = 0
        """Bytes that were taken in."""
        self.path: Path | None = None
        """Where they are, once they are."""
        self.problem: str | None = None
        """Why there will be no blob, where there will be none."""
        self._drafts = drafts
        self._batch: list[bytes] = []
        self._batched = 0
        self._expected: int | None = None
        self._file: int | None = None
        self._written = 0

    # On the loop

    def expect(self, count: int) -> None:
        """Expect so many bytes to follow: more than can ever fit need not be written."""
        self._expected = self.size + count

    def add(self, data: bytes) -> None:
        """Take in the next bytes; never blocks, never raises."""
        if self.problem is not None:
            return
        if not self._drafts.buffered.take(len(data)):
            self.give_up("the disk is slower than the push")
            return
        self.size += len(data)
        self._batch.append(data)
        self._batched += len(data)
        self._drafts.batching.add(self)
        if self._batched >= _BATCH:
            self.hand_over()
        elif self._drafts.buffered.is_scarce:  # many that dawdle must leave some to the others
            for draft in list(self._drafts.batching):
                draft.hand_over()

    def give_up(self, problem: str) -> None:
        """Remove what is there, and take nothing in any more."""
        self.problem = self.problem or problem
        self.hand_over()
        self._drafts.submit(self._remove)

    async def settle(self, digest: Digest) -> str | None:
        """Wait until all is on the disk, safely; why it is not the blob, where it is not."""
        self.hand_over()
        self._drafts.submit(self._open)
        return await self._drafts.settled(partial(self._verified, digest))

    def close(self) -> None:
        """Let go of the file, which the store may have taken over by now."""
        self.give_up("it is closed")

    def hand_over(self) -> None:
        """Have what was taken in so far written, however little it is."""
        self._drafts.batching.discard(self)
        if self._batch:
            batch, self._batch, self._batched = self._batch, [], 0
            self._drafts.submit(partial(self._write, batch))

    # On the writer's thread

    def _write(self, batch: list[bytes]) -> None:
        count = sum(map(len, batch))
        try:
            self._open()
            if self.problem is None:
                self._append(b"".join(batch))
        except OSError as error:
            self._fail(storage_reason(error))
        except (StoreError, RuntimeError) as error:  # or the store's thread has ended
            self._fail(str(error))
        finally:
            self._drafts.buffered.give(count)

    def _open(self) -> None:
        if self._file is None and self.problem is None:
            try:
                self._file, self.path = self._drafts.file()
            except StoreError as error:
                self._fail(str(error))

    def _append(self, data: bytes) -> None:
        end = self._written + len(data)
        path, lost = self.path, self._lost
        if path is None or not self._drafts.claim(path, end, lost, self._expected):
            self._fail("there is no room for it")
            return
        view = memoryview(data)
        while view and self._file is not None:
            count = os.write(self._file, view)
            view = view[count:]
        self._written = end

    def _fail(self, problem: str) -> None:
        self.problem = self.problem or problem
        self._remove()

    def _remove(self) -> None:
        if self._file is not None and self.path is not None:
            file, self._file = self._file, None
            with contextlib.suppress(OSError):  # the disk has failed; the next start removes it
                os.close(file)
                self.path.unlink(missing_ok=True)
            self._drafts.release(self.path)

    # On any thread

    def _lost(self) -> None:
        """Give up: the file had to give way, and is gone."""
        self.problem = self.problem or "another push, or a pull, needed its room"
        self._drafts.submit(self._remove)

    # On a thread that may wait

    def _verified(self, digest: Digest) -> str | None:
        if self.problem is not None or self._file is None or self.path is None:
            return self.problem
        try:
            self._drafts.keep(self.path)
        except (StoreError, RuntimeError) as error:  # or the store's thread has ended
            return str(error)
        if self.problem is not None:  # it gave way just before
            return self.problem
        problem = damage_of(self._file, digest)
        if problem is None:
            try:
                os.fdatasync(self._file)
            except OSError as error:
                problem = storage_reason(error)
        return problem

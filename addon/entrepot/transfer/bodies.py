"""Bodies that a client reads at its own pace, never whole in memory (``messages.Body``).

:class:`FileBody` gives a stretch of a file, complete or still growing; :class:`ReplyBody` gives
what upstream sends, as it comes, for what is not stored; :class:`ContinuedBody` goes on from
upstream where the disk fails.
"""

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Protocol

from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol.identifiers import Digest, Hasher
from entrepot.protocol.messages import CHUNK, Body, BodyError, Stretch
from entrepot.transfer.digest_verification import VerifiedBody
from entrepot.transfer.errors import StorageLostError

_REPLY_CHUNK = 256 * 1024
_LARGE = 8 * 1024**3

RunBlocking = Callable[[Callable[[], bytes]], Awaitable[bytes]]
"""Runs a blocking function on a thread and gives what it returns."""


class Growth(Protocol):
    """A file that a download is writing (``growing_file``)."""

    async def readable_end(self, offset: int, stop: int | None, *, early: bool) -> int:
        """Wait for bytes after ``offset`` that a transfer up to ``stop`` may have; where they end.

        ``offset`` itself where the file is whole and ends there. ``early``: also the last byte
        before the whole is verified. Raises :class:`BodyError`.
        """

    def add_follower(self, follower: int, *, early: bool) -> None:
        """Count one who reads; ``early``: not to the end."""

    def remove_follower(self, follower: int) -> None:
        """Count this one no more."""


class FileBody:
    """The bytes from ``start`` to ``stop`` of an open file, which it closes."""

    def __init__(
        self,
        file: int,
        start: int,
        stop: int | None,
        growth: Growth | None = None,
        *,
        early: bool = False,
    ) -> None:
        """``stop`` None: to the end. ``growth`` is the download that writes it, if one does.

        ``early``: it is given whole before the download is verified, to who verifies by itself.
        """
        self._file: int | None = file
        self._position = start
        self._stop = stop
        self._growth = growth
        self._early = early
        self.size = None if stop is None else stop - start
        if growth is not None:
            growth.add_follower(id(self), early=early)

    def part(self, start: int, stop: int | None, *, early: bool = False) -> "FileBody":
        """Another stretch of the same file, whatever becomes of this one. Raises OSError."""
        if self._file is None:
            raise OSError(errno.EBADF, "it was closed")
        return FileBody(os.dup(self._file), start, stop, self._growth, early=early)

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes; see ``messages.Body``."""
        if self._file is None:
            raise BodyError("it was closed")
        end = self._position + most if self._stop is None else self._stop
        if self._growth is not None and self._position != self._stop:
            readable = await self._growth.readable_end(
                self._position, self._stop, early=self._early
            )
            end = min(end, readable)
        if self._file is None:
            raise BodyError("it was closed meanwhile")
        count = min(most, end - self._position)
        if count <= 0:
            return b""
        data = await _read_at(self._file, count, self._position)
        if not data:
            raise StorageLostError("the file is shorter than it was")
        self._position += len(data)
        return data

    async def hashed(self, digest: Digest) -> Hasher:
        """The hash of the file up to what was given. Raises :class:`BodyError`."""
        if self._file is None:
            raise BodyError("it was closed")
        hasher, own = digest.hasher(), os.dup(self._file)

        def read_again() -> bool:
            with os.fdopen(own, "rb", buffering=0) as file:
                return _hash_up_to(file.fileno(), self._position, hasher)

        if not await asyncio.to_thread(read_again):
            raise BodyError("what was given cannot be read again")
        return hasher

    def stretch(self, most: int) -> Stretch | None:
        """The next bytes of a complete file; see ``messages.Body``."""
        if self._file is None or self._growth is not None or self._stop is None:
            return None
        count = min(most, self._stop - self._position)
        return Stretch(self._file, self._position, count) if count > 0 else None

    def skip(self, count: int) -> None:
        """See ``messages.Body``."""
        self._position += count

    def close(self) -> None:
        """Close the file; twice is harmless."""
        if self._file is not None:
            if self._growth is not None:
                self._growth.remove_follower(id(self))
            _close(self._file)
            self._file = None

    def __del__(self) -> None:
        self.close()


def _hash_up_to(file: int, stop: int, hasher: Hasher) -> bool:
    """Hash the beginning of a file up to ``stop``; whether it could be read so far."""
    offset = 0
    with contextlib.suppress(OSError):
        while offset < stop and (data := os.pread(file, min(CHUNK, stop - offset), offset)):
            hasher.update(data)
            offset += len(data)
    return offset == stop


def _close(file: int) -> None:
    """Close a file; where that removes a large one, since it was evicted meanwhile, on a thread.

    To give back a terabyte takes a second on a fast disk (1 ms a GiB, ext4).
    """
    state = os.fstat(file)
    if state.st_nlink == 0 and state.st_size > _LARGE:
        with contextlib.suppress(RuntimeError):  # no thread is to be had: at the process's end
            threading.Thread(target=os.close, args=(file,), daemon=True).start()
            return
    os.close(file)


async def _read_at(file: int, count: int, offset: int) -> bytes:
    """Read without blocking the loop: at once from the page cache, else in a thread."""
    buffer = bytearray(count)
    try:
        got = os.preadv(file, [buffer], offset, os.RWF_NOWAIT)
    except OSError:  # EAGAIN: not in the page cache; EOPNOTSUPP: a filesystem without it
        got = 0
    if got:
        return bytes(buffer) if got == count else bytes(buffer[:got])
    try:
        return await asyncio.to_thread(os.pread, file, count, offset)
    except OSError as error:
        raise StorageLostError(f"reading the cache failed: {error.strerror}") from error


class ReplyBody:
    """What upstream sends, stored nowhere, behind what was already read of it.

    It is as upstream sent it: where a digest names it, ``VerifiedBody`` goes around it.
    """

    def __init__(self, reply: Reply, run: RunBlocking, *, head: bytes = b"") -> None:
        """``run`` runs what waits for upstream; ``head`` is what was read before."""
        self._reply = reply
        self._run = run
        self._head = head
        self._done = False
        self._reading = False
        self.size = reply.length

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes; see ``messages.Body``."""
        if self._done:
            return b""
        data = await self._next(most)
        if not data:
            self._done = True
            self._reply.close()
        return data

    def stretch(self, most: int) -> Stretch | None:  # noqa: ARG002 - see ``messages.Body``
        """None: what upstream sends lies nowhere."""
        return None

    def skip(self, count: int) -> None:
        """See ``messages.Body``."""
        raise AssertionError(count)  # of no stretch

    async def _next(self, most: int) -> bytes:
        if self._head:
            data, self._head = self._head[:most], self._head[most:]
            return data
        try:
            self._reading = True
            return await self._run(lambda: self._reply.read_ready(min(most, _REPLY_CHUNK)))
        except UpstreamError as error:
            raise BodyError(str(error)) from error
        finally:
            self._reading = False
            if self._done:  # closed meanwhile
                self._reply.close()

    def close(self) -> None:
        """End the upstream transfer; twice is harmless."""
        if not self._done:
            self._done = True
            if not self._reading:  # else whoever reads closes, once the thread has let go
                self._reply.close()


class ContinuedBody:
    """A body that goes on from upstream where the disk fails it.

    Only a failure of our own disk leads elsewhere, and once: wrong bytes are not made up for.
    """

    def __init__(
        self,
        first: Body,
        resume: Callable[[int], Awaitable[Body]],
        unverified: Digest | None = None,
    ) -> None:
        """``resume`` gives what follows so many bytes, counted from where ``first`` begins.

        ``unverified`` is the digest of the blob whose download, still running, ``first`` follows to
        its end: then what ``resume`` gives is verified together with what was given before.
        """
        self._source = first
        self._resume: Callable[[int], Awaitable[Body]] | None = resume
        self._unverified = unverified
        self._given = 0
        self.size = first.size

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes; see ``messages.Body``."""
        try:
            data = await self._source.read(most)
        except StorageLostError:
            if self._resume is None:
                raise
            rest = await self._rest(self._resume)
            self._source.close()
            self._source, self._resume = rest, None
            data = await self._source.read(most)
        self._given += len(data)
        return data

    async def _rest(self, resume: Callable[[int], Awaitable[Body]]) -> Body:
        if self._unverified is None or not isinstance(self._source, FileBody):
            return await resume(self._given)
        hasher = await self._source.hashed(self._unverified)
        return VerifiedBody(await resume(self._given), self._unverified, hasher)

    def stretch(self, most: int) -> Stretch | None:
        """See ``messages.Body``."""
        return self._source.stretch(most)

    def skip(self, count: int) -> None:
        """See ``messages.Body``."""
        self._source.skip(count)
        self._given += count

    def close(self) -> None:
        """Close whichever source is in use; twice is harmless."""
        self._source.close()

"""Bodies that a client reads at its own pace, never whole in memory.

:class:`FileBody` gives a stretch of a file, complete or still growing; :class:`ReplyBody` gives
what upstream sends, as it comes, for what is not stored. Both implement ``message.Body``.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Protocol

from entrepot.http_client.response import Reply, UpstreamError
from entrepot.protocol.identifiers import Digest, Hasher
from entrepot.protocol.messages import CHUNK, Body, BodyError, Stretch

_REPLY_CHUNK = 256 * 1024


Call = Callable[[Callable[[], bytes]], Awaitable[bytes]]
"""Runs a blocking function on a thread and gives what it returns."""


class StorageLostError(BodyError):
    """The bytes are fine upstream; it is the cache that could not take them."""


class Growth(Protocol):
    """A file that a download is writing."""

    async def beyond(self, offset: int, stop: int | None) -> int:
        """Wait until a transfer up to ``stop`` may have bytes after ``offset``; where they end.

        ``offset`` itself where the file is whole and ends there. Raises :class:`BodyError`.
        """

    def joined(self, reader: int) -> None:
        """Take in that somebody reads."""

    def left(self, reader: int) -> None:
        """Take in that this one reads no more."""


class FileBody:
    """The bytes from ``start`` to ``stop`` of an open file, which it closes."""

    def __init__(
        self, file: int, start: int, stop: int | None, growth: Growth | None = None
    ) -> None:
        self._file: int | None = file
        self._position = start
        self._stop = stop
        self._growth = growth
        self.size = None if stop is None else stop - start
        if growth is not None:
            growth.joined(id(self))

    def part(self, start: int, stop: int | None) -> "FileBody":
        """Narrow a body that was not read yet to a stretch of its file."""
        self._position, self._stop = start, stop
        self.size = None if stop is None else stop - start
        return self

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes; see ``message.Body``."""
        if self._file is None:
            raise BodyError("it was closed")
        end = self._position + most if self._stop is None else self._stop
        if self._growth is not None and self._position != self._stop:
            end = min(end, await self._growth.beyond(self._position, self._stop))
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
        hasher, offset = digest.hasher(), 0
        while offset < self._position and self._file is not None:
            data = await _read_at(self._file, min(CHUNK, self._position - offset), offset)
            if not data:
                break
            hasher.update(data)
            offset += len(data)
        if offset < self._position:
            raise BodyError("what was given cannot be read again")
        return hasher

    def stretch(self, most: int) -> Stretch | None:
        """The next bytes of a complete file; see ``message.Body``."""
        if self._file is None or self._growth is not None or self._stop is None:
            return None
        count = min(most, self._stop - self._position)
        return Stretch(self._file, self._position, count) if count > 0 else None

    def skip(self, count: int) -> None:
        """See ``message.Body``."""
        self._position += count

    def close(self) -> None:
        """Close the file; twice is harmless."""
        if self._file is not None:
            if self._growth is not None:
                self._growth.left(id(self))
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        self.close()


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
    """What upstream sends, unstored, behind what was already read of it.

    With ``digest``, a whole body is verified on its way: its last byte is held back until the
    hash fits, so that a client can never take a corrupt one for whole.
    """

    def __init__(
        self, reply: Reply, call: Call, *, head: bytes = b"", digest: Digest | None = None
    ) -> None:
        self._reply = reply
        self._call = call
        self._head = head
        self._digest = digest
        self._hasher = digest.hasher() if digest else None
        self._held = b""
        self._done = False
        self._reading = False
        self.size = reply.length

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes; see ``message.Body``."""
        while not self._done:
            data = await self._next(most)
            if self._hasher is not None:
                self._hasher.update(data)
            if not data:
                self._done = True
                self._reply.close()
                return self._last()
            if self._hasher is None:
                return data
            data, self._held = (self._held + data)[:-1], data[-1:]
            if data:
                return data
        return b""

    def stretch(self, most: int) -> Stretch | None:  # noqa: ARG002 - see ``message.Body``
        """None: what upstream sends lies nowhere."""
        return None

    def skip(self, count: int) -> None:
        """See ``message.Body``."""
        raise AssertionError(count)  # of no stretch

    async def _next(self, most: int) -> bytes:
        if self._head:
            data, self._head = self._head[:most], self._head[most:]
            return data
        try:
            self._reading = True
            return await self._call(lambda: self._reply.read(min(most, _REPLY_CHUNK)))
        except UpstreamError as error:
            raise BodyError(str(error)) from error
        finally:
            self._reading = False
            if self._done:  # closed meanwhile
                self._reply.close()

    def _last(self) -> bytes:
        if self._digest and self._hasher and self._hasher.hexdigest() != self._digest.hex:
            raise BodyError(f"upstream sent other bytes than {self._digest}")
        return self._held

    def close(self) -> None:
        """End the upstream transfer; twice is harmless."""
        if not self._done:
            self._done = True
            if not self._reading:  # else whoever reads closes, once the thread has let go
                self._reply.close()


class _VerifiedBody:
    """The rest of a blob, whose last byte waits until the hash of all of it fits."""

    def __init__(self, rest: Body, hasher: Hasher, digest: Digest) -> None:
        """``hasher`` has taken in what comes before."""
        self._rest = rest
        self._hasher = hasher
        self._digest = digest
        self._held = b""
        self._done = False
        self.size = rest.size

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes; see ``message.Body``."""
        while not self._done:
            data = await self._rest.read(most)
            self._hasher.update(data)
            if not data:
                self._done = True
                if self._hasher.hexdigest() != self._digest.hex:
                    raise BodyError(f"upstream sent other bytes than {self._digest}")
                return self._held
            data, self._held = (self._held + data)[:-1], data[-1:]
            if data:
                return data
        return b""

    def stretch(self, most: int) -> Stretch | None:  # noqa: ARG002 - see ``message.Body``
        """None: what upstream sends lies nowhere."""
        return None

    def skip(self, count: int) -> None:
        """See ``message.Body``."""
        raise AssertionError(count)  # of no stretch

    def close(self) -> None:
        """End the upstream transfer; twice is harmless."""
        self._rest.close()


class ContinuedBody:
    """A body that goes on elsewhere where the first source fails: ``resume`` from an offset."""

    def __init__(
        self,
        first: Body,
        resume: Callable[[int], Awaitable[Body]],
        unverified: Digest | None = None,
    ) -> None:
        """``unverified`` is what ``first``, up to its end, is a download of that still runs."""
        self._source = first
        self._resume: Callable[[int], Awaitable[Body]] | None = resume
        self._unverified = unverified
        self._given = 0
        self.size = first.size

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes; see ``message.Body``."""
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
        return _VerifiedBody(await resume(self._given), hasher, self._unverified)

    def stretch(self, most: int) -> Stretch | None:
        """See ``message.Body``."""
        return self._source.stretch(most)

    def skip(self, count: int) -> None:
        """See ``message.Body``."""
        self._source.skip(count)
        self._given += count

    def close(self) -> None:
        """Close whichever source is in use; twice is harmless."""
        self._source.close()

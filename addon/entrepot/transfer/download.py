"""One fetch of one blob, into a growing file, for however many clients read it.

A download is a thread with its own connection: hashing, TLS and file writes all release the
interpreter's lock, so it costs the serving loop nothing but a wake-up per chunk. It belongs to
no client: it goes on when all have left as long as it moves, takes up a broken connection with
Range, and leaves its file behind to be continued when the process ends. Room on the disk it takes
as bytes come.

Where the bytes do not hash to the digest, the file is discarded, and the readers' transfers are
cut short of their last byte (see ``growing``).
"""

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from entrepot.http_client.cancellable_call import Call, making
from entrepot.http_client.response import Reply, UpstreamError
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.statuses import TRANSIENT_WHILE_FETCHING
from entrepot.transfer.growing_file import GaveWay, GrowingFile, State
from entrepot.transfer.parallel_ranges import SMALLEST_BLOB, Pace, Pieces
from entrepot.transfer.throughput import Throughput

_LARGEST_READ = 1024 * 1024
_PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each attempt to go on after a break, from the first since bytes came."""

_HASTES = 3
"""How often a download may try to go on by several connections."""


class Broken(Exception):  # noqa: N818 it ends a download, it is no error of the program
    """A download cannot go on; the text says why."""


class MismatchError(Broken):
    """The bytes are not those that the digest names."""


class Download(GrowingFile):
    """A running fetch of ``digest``. Reading sides live on ``loop``, the fetch on a thread."""

    def __init__(
        self,
        digest: Digest,
        path: Path,
        *,
        reopen: Callable[[int], Reply],
        part: Callable[[Reply, int, int], Reply],
        claim: Callable[["Download", int], int],
        finish: Callable[["Download"], None],
        ended: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
    ) -> None:
        """Prepare a download into ``path``.

        On threads: ``reopen`` asks upstream again from an offset on, ``part`` asks where a reply
        came from for the bytes between two offsets, ``claim`` makes room up to an offset and says
        up to which there is some now, ``finish`` takes over the file or clears it away (``error``
        says which). On the loop: ``ended`` is called last. ``clock`` gives seconds and is never
        set. Raises OSError where the file cannot be opened.
        """
        super().__init__(path, loop)
        self.digest = digest
        self.media_type = "application/octet-stream"
        self.repositories: set[Repository] = set()
        """Where upstream confirmed that these bytes are."""
        self.retired = asyncio.Event()
        """Set when nothing of it is left, whatever became of it."""
        self._reopen = reopen
        self._part = part
        self._claim = claim
        self._finish = finish
        self._ended = ended
        self._call = Call()
        self._stop = threading.Event()
        self._why: Exception = Broken("the proxy is stopping")
        self._clock = clock
        self._throughput = Throughput(clock())
        self._room = 0
        self._hasher = digest.hasher()
        self._source: Reply | Pieces | None = None
        self._pace = Pace()
        self._hastes = _HASTES
        self._skip = 0

    def accept(self, reply: Reply) -> int | None:
        """Take upstream's 200 or 206 as the source; the size that it announces, if it does.

        Raises :class:`Broken` for a 206 that is no continuation of what is there, OSError where
        the file cannot be written.
        """
        start = _start(reply, self._written)
        if start == 0:
            self.restart()
        self.size = _whole_size(reply, start)
        self.media_type = reply.value("Content-Type") or self.media_type
        self._source = reply
        self._skip = self._written - start
        return self.size

    def start(self) -> None:
        """Start fetching. From here on the thread closes everything."""
        name = f"download {self.digest.hex[:12]}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """Ask the fetch to end soon, keeping its file to be continued."""
        self._stop.set()

    @property
    def is_ending(self) -> bool:
        """Whether it was asked to end."""
        return self._stop.is_set()

    def is_slow(self) -> bool:
        """Whether it did not move in the last minute; for any thread."""
        return self._throughput.is_slow(self._clock())

    def give_way(self, reason: str) -> None:
        """End at once, keeping the file; readers go on from upstream by themselves."""
        self._why = GaveWay(reason)
        self._stop.set()
        self._call.abort()
        if isinstance(source := self._source, Pieces):
            source.abort()

    # Fetching, on the thread

    def _run(self) -> None:
        try:
            self._hash_earlier()
            with making(self._call):
                self._fetch()
            self._verify()
        except Exception as error:  # noqa: BLE001 readers must hear of whatever ended it
            self.error = error
            self.state = State.FAILED
        else:
            self.state = State.VERIFIED
        self._notify()
        if self._source is not None:
            self._source.close()
        try:
            if self.error is None:
                os.fdatasync(self._file)
        except OSError as error:
            self.error = error
        try:
            self._finish(self)
        finally:
            self._retire()

    def _retire(self) -> None:
        """End on the loop, where no reader can be just opening the file that is closed."""

        def retire() -> None:
            self._ended()
            self.close()
            self.retired.set()

        try:
            self._loop.call_soon_threadsafe(retire)
        except RuntimeError:  # the loop has ended before the thread
            self.close()

    def _hash_earlier(self) -> None:
        """Take in what an earlier process left, so that one hash covers the whole."""
        offset = 0
        while offset < self._written:
            data = os.pread(self._file, min(_LARGEST_READ, self._written - offset), offset)
            if not data:
                raise Broken("the partial file shrank")
            self._hasher.update(data)
            offset += len(data)
            self._throughput.add(len(data), self._clock())

    def _fetch(self) -> None:
        attempts = iter(_PAUSES)
        while True:
            before = self._written
            try:
                self._drain()
            except UpstreamError as error:
                problem = str(error)
            else:
                if self._stop.is_set() and self.size is None:
                    raise self._why  # what was broken off may look like an end
                if self.size is None or self._written == self.size:
                    return
                problem = "upstream sent less than it announced"
            if self._written > before:
                attempts = iter(_PAUSES)
            self._continue(attempts, problem)

    def _continue(self, attempts: Iterator[float], problem: str) -> None:
        """Get a new source from where the file ends."""
        if self._source is not None:
            self._source.close()
        for pause in attempts:
            self._stop.wait(pause)
            self._check()
            try:
                reply = self._reopen(self._written)
                if reply.status in (200, 206):
                    self._skip = self._written - _start(reply, self._written)
                    self._source = reply
                    self._pace = Pace()
                    return
            except UpstreamError as error:
                problem = str(error)
                continue
            reply.close()
            problem = f"upstream answered {reply.status} to a resumed fetch"
            if reply.status not in TRANSIENT_WHILE_FETCHING:
                break
        raise Broken(problem)

    def _drain(self) -> None:
        """Read the source to its end, into hash and file."""
        source = self._source
        while source is not None:
            self._check()
            if isinstance(source, Reply):
                data = self._pace.read(source, _LARGEST_READ)
            else:
                data = source.read(_LARGEST_READ)
            if not data:
                return
            self._throughput.add(len(data), self._clock())
            if self._skip:
                data = self._same_again(data)
            if data:
                self._take(data)
            if isinstance(source, Pieces):
                self._slow_down()
            elif self._pace.is_slow():
                source = self._source = self._hastened(source)

    def _check(self) -> None:
        """Raise where it is to end, or is nobody's and does not move."""
        if self._stop.is_set():
            raise self._why
        if not self.is_read and self.is_slow():
            raise GaveWay("nobody waits for it, and it hardly moves")

    def _hastened(self, reply: Reply) -> Reply | Pieces:
        """Go on by several connections, where that can be and may help."""
        self._pace = Pace()
        if self._skip or self.size is None or self.size < SMALLEST_BLOB or not self._hastes:
            return reply
        self._hastes -= 1
        pieces = Pieces(
            reply,
            self._written,
            self.size,
            ask=lambda start, stop: self._part(reply, start, stop),
            folder=self.path.parent,
        )
        return pieces if pieces.start() else reply

    def _slow_down(self) -> None:
        """Go back to one connection where several hardly move: others have more use for them."""
        if self.is_slow():
            self._hastes = 0
            raise UpstreamError("several connections hardly moved")

    def _same_again(self, data: bytes) -> bytes:
        """Pass over bytes that are already here; they must be the same, since readers have them."""
        known = data[: self._skip]
        offset = self._written - self._skip
        if os.pread(self._file, len(known), offset) != known:
            raise MismatchError("upstream sent other bytes when asked again")
        self._skip -= len(known)
        return data[len(known) :]

    def _take(self, data: bytes) -> None:
        end = self._written + len(data)
        if self.size is not None and end > self.size:
            raise MismatchError("upstream sent more than it announced")
        if end > self._room:
            self._claim_room(end)
        self._hasher.update(data)
        view = memoryview(data)
        while view:
            count = os.pwrite(self._file, view, self._written)
            view = view[count:]
            self._written += count
        self._notify()

    def _claim_room(self, end: int) -> None:
        self._room = self._claim(self, end)
        if self._room < end:
            raise OSError(errno.ENOSPC, "no room within the size limit")

    def _verify(self) -> None:
        if self._hasher.hexdigest() != self.digest.hex:
            raise MismatchError("the bytes do not hash to the digest")
        self.size = self._written


def _start(reply: Reply, written: int) -> int:
    """The offset of the first byte that ``reply`` sends: 0, or where a 206 says it starts."""
    if reply.status != 206:
        return 0
    content_range = reply.content_range
    if content_range is None:
        raise Broken("upstream sent 206 without a usable Content-Range")
    if content_range.first > written:
        raise Broken("upstream sent a later range than was asked for")
    return content_range.first


def _whole_size(reply: Reply, start: int) -> int | None:
    """How large the blob is; a 206 may carry less than the rest of it (RFC 9110 section 15.3.7)."""
    content_range = reply.content_range
    if content_range is not None and content_range.size is not None:
        return content_range.size
    return None if reply.length is None else start + reply.length

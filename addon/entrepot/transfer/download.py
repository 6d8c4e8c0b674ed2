"""One fetch of one blob, into a growing file, for however many clients follow it.

A download is a thread with its own connection, and further ones for what clients wait for
(``filling``): hashing, TLS and file writes all release the interpreter's lock, so it costs the
serving loop nothing but a wake-up per chunk. It belongs to no client: it goes on when all have left
as long as it moves, and leaves its file behind to be continued when the process ends. Room on the
disk it takes as bytes come.

What clients ask for in parts is fetched first; then the rest, from the beginning. Where
the bytes do not hash to the digest, the file is discarded, and the transfers of those who follow it
to the end are cut short of their last byte (``growing_file``).
"""

import asyncio
import errno
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from entrepot.bounded_map import BoundedMap
from entrepot.http_client.cancellable_call import Call, making
from entrepot.http_client.response import Reply
from entrepot.intervals import Span
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.transfer.digest_verification import fits
from entrepot.transfer.errors import DownloadError, GaveWay, MismatchError
from entrepot.transfer.filling.filler import Filling
from entrepot.transfer.filling.lead import Lead
from entrepot.transfer.filling.reservations import Reservations
from entrepot.transfer.filling.running_hash import RunningHash
from entrepot.transfer.filling.segments import Segment, Segments
from entrepot.transfer.filling.source import Source, first_offset, whole_size
from entrepot.transfer.filling.workers import Workers
from entrepot.transfer.growing_file import GrowingFile
from entrepot.transfer.throughput import Throughput

MOST_CLIENTS = 50
"""Those that are named of one download."""


class Download:
    """A running fetch of ``digest``. Followers live on ``loop``, the fetch on threads."""

    def __init__(
        self,
        digest: Digest,
        path: Path,
        *,
        source: Source,
        claim: Callable[["Download", int], int],
        finish: Callable[["Download"], None],
        ended: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        completes: bool = True,
    ) -> None:
        """Prepare a download into ``path``.

        On threads: ``source`` asks upstream as the client who began it, ``claim`` makes room for so
        many bytes and says for how many there is some now, ``finish`` takes over the file or clears
        it away (the file's ``error`` says which). On the loop: ``ended`` is called last. ``clock``
        gives seconds and is never set. Unless it ``completes``, only what is asked for is fetched.
        Raises OSError where the file cannot be opened.
        """
        self.digest = digest
        self.file = GrowingFile(path, loop)
        """What has come, how it ends, and who follows it."""
        self.media_type = "application/octet-stream"
        self.repositories: set[Repository] = set()
        """Where upstream confirmed that these bytes are."""
        self.clients: BoundedMap[str, None] = BoundedMap(MOST_CLIENTS)
        """The addresses of those who asked for it."""
        self.began = clock()
        self.retired = asyncio.Event()
        """Set when nothing of it is left, whatever became of it."""
        self.received = 0
        """Bytes that came from upstream, without those of an earlier process."""
        self._claim = claim
        self._finish = finish
        self._ended = ended
        self._loop = loop
        self._call = Call()
        self._stopped = threading.Event()
        self._why: Exception = DownloadError("the proxy is stopping")
        self._throughput = Throughput(clock)
        self._counting = threading.Lock()
        self._claiming = threading.Lock()
        self._room = 0
        self._pending = 0
        self._hash = RunningHash(digest, self.file)
        self._segments = Segments(self.file.covered)
        self._filling = Filling(
            self.file,
            Reservations(self.file),
            self._segments,
            self._check,
            self._stopped,
            self._ask,
            self._take,
            self._count,
        )
        self._workers = Workers(self._filling, self._end)
        self._lead = Lead(
            self._filling, self._workers, self._throughput, source, completes=completes
        )
        self.file.on_wait = self._lead.waits

    def accept(self, reply: Reply) -> int | None:
        """Take upstream's 200 or 206 as the source; the size that it announces, if it does.

        Raises :class:`DownloadError` for a 206 that is no continuation of what is there, OSError
        where the file cannot be written.
        """
        start = first_offset(reply, self.file.end_from(0))
        if start == 0:
            self.file.restart()
        self._know(reply, whole_size(reply, start))
        self._lead.begin_whole(reply, self.file.end_from(0))
        return self.file.size

    def accept_part(self, reply: Reply) -> int:
        """Take upstream's 206 as what the first client waits for; the size of the whole.

        Raises :class:`DownloadError` where it does not say which part of what that is, OSError.
        """
        place = reply.content_range
        if place is None or place.size is None:
            raise DownloadError("upstream sent 206 without a usable Content-Range")
        if self.file.covered.end > place.size:
            self.file.restart()  # it cannot be a part of the blob
        self._know(reply, place.size)
        self._lead.begin_part(reply, place.first, place.last + 1)
        return place.size

    def _know(self, reply: Reply, size: int | None) -> None:
        self.file.size = size
        if size is not None:
            self._segments.size = size
        self.media_type = reply.value("Content-Type") or self.media_type

    def start(self) -> None:
        """Start fetching. From here on the thread closes everything."""
        name = f"download {self.digest.hex[:12]}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def gives_parts(self) -> bool:
        """Whether upstream gives parts; else what came as the whole may be something else."""
        return self._segments.has_ranges

    def expect_no_parts(self) -> None:
        """Have one connection read all of it: upstream answered a Range with the whole."""
        self._segments.has_ranges = False

    def want(self, spans: Sequence[Span], source: Source) -> None:
        """Fetch these stretches ahead of all else, for a client as which ``source`` asks."""
        self._lead.want(spans, source)

    def stop(self) -> None:
        """Ask the fetch to end soon, keeping its file to be continued."""
        self._stopped.set()
        with self.file.changed:
            self.file.changed.notify_all()

    @property
    def is_ending(self) -> bool:
        """Whether it was asked to end."""
        return self._stopped.is_set()

    def rate(self) -> float:
        """Bytes a second of late; for any thread."""
        return self._throughput.rate()

    def is_slow(self) -> bool:
        """Whether it did not move in the last minute; for any thread."""
        return self._throughput.is_slow()

    def give_way(self, reason: str) -> None:
        """End at once, keeping the file; followers go on from upstream by themselves."""
        self._end(GaveWay(reason))

    # Fetching, on the thread

    def _run(self) -> None:
        error: Exception | None = None
        try:
            if self.file.written:
                self._hash.follow()
            with making(self._call):
                self._lead.run()
            self._verify()
        except Exception as problem:  # noqa: BLE001 followers must hear of whatever ended it
            error = problem
        self._end(error or DownloadError("it is over"))
        self.file.shut()
        self._hash.close()
        self.file.end(error)
        try:
            self.file.sync()
        except OSError as problem:
            self.file.error = self.file.error or problem
        try:
            self._finish(self)
        finally:
            self._retire()

    def _ask(self, segment: Segment) -> Reply:
        return self._lead.ask(segment)

    def _take(self, at: int, data: memoryview) -> None:
        """Write bytes that came, and hash them where they are next. Raises OSError."""
        with self._claiming:
            self._pending += len(data)
            end = self.file.written + self._pending
            if end > self._room:
                self._room = self._claim(self, end)
            has_room = end <= self._room
        try:
            if not has_room:
                raise OSError(errno.ENOSPC, "no room within the size limit")
            is_hashed = self._hash.feed(at, data)
            self.file.write_at(at, data)
        finally:
            with self._claiming:
                self._pending -= len(data)
        if not is_hashed:
            self._hash.follow()

    def _count(self, count: int) -> None:
        with self._counting:
            self.received += count
            self._throughput.add(count)

    def _check(self) -> None:
        """Raise where it is to end, or is nobody's and does not move."""
        if self._stopped.is_set():
            raise self._why
        if not self.file.is_followed and self.is_slow():
            raise GaveWay("nobody waits for it, and it hardly moves")

    def _end(self, why: Exception) -> None:
        """End soon, unless it is ending already; from any thread."""
        if not self._stopped.is_set():
            self._why = why
        self._stopped.set()
        self._call.abort()
        with self.file.changed:
            self._workers.abort()
            self.file.changed.notify_all()

    def _verify(self) -> None:
        if not fits(self._hash.finish(), self.digest):
            raise MismatchError("the bytes do not hash to the digest")
        self.file.size = self.file.written

    def _retire(self) -> None:
        """End on the loop, where no follower can be just opening the file that is closed."""

        def retire() -> None:
            self._ended()
            self.file.close()
            self.retired.set()

        try:
            self._loop.call_soon_threadsafe(retire)
        except RuntimeError:  # the loop has ended before the thread
            self.file.close()

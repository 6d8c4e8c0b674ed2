"""One fetch of one blob, into a growing file, for however many clients follow it.

A download is a thread with its own connection: hashing, TLS and file writes all release the
interpreter's lock, so it costs the serving loop nothing but a wake-up per chunk. It belongs to
no client: it goes on when all have left as long as it moves, resumes a broken connection with
Range (``resumable_source``), and leaves its file behind to be continued when the process ends.
Room on the disk it takes as bytes come.

Where the bytes do not hash to the digest, the file is discarded, and the followers' transfers are
cut short of their last byte (``growing_file``).
"""

import asyncio
import errno
import threading
from collections.abc import Callable
from pathlib import Path

from entrepot.bounded_map import BoundedMap
from entrepot.http_client.cancellable_call import Call, making
from entrepot.http_client.response import Reply
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.transfer.digest_verification import fits
from entrepot.transfer.errors import DownloadError, GaveWay, MismatchError
from entrepot.transfer.growing_file import GrowingFile
from entrepot.transfer.resumable_source import ResumableSource, first_offset, whole_size
from entrepot.transfer.throughput import Throughput

MOST_CLIENTS = 50
"""Those that are named of one download."""


class Download:
    """A running fetch of ``digest``. Followers live on ``loop``, the fetch on a thread."""

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
        up to which there is some now, ``finish`` takes over the file or clears it away (the file's
        ``error`` says which). On the loop: ``ended`` is called last. ``clock`` gives seconds and is
        never set. Raises OSError where the file cannot be opened.
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
        self._room = 0
        self._hasher = digest.hasher()
        self._source = ResumableSource(
            reopen=reopen,
            part=part,
            read_back=self.file.read_back,
            folder=path.parent,
            throughput=self._throughput,
            check=self._check,
            stopped=self._stopped,
        )

    def accept(self, reply: Reply) -> int | None:
        """Take upstream's 200 or 206 as the source; the size that it announces, if it does.

        Raises :class:`DownloadError` for a 206 that is no continuation of what is there, OSError
        where the file cannot be written.
        """
        start = first_offset(reply, self.file.written)
        if start == 0:
            self.file.restart()
        self.file.size = whole_size(reply, start)
        self.media_type = reply.value("Content-Type") or self.media_type
        self._source.begin(reply, self.file.written, self.file.size)
        return self.file.size

    def start(self) -> None:
        """Start fetching. From here on the thread closes everything."""
        name = f"download {self.digest.hex[:12]}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """Ask the fetch to end soon, keeping its file to be continued."""
        self._stopped.set()

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
        self._why = GaveWay(reason)
        self._stopped.set()
        self._call.abort()
        self._source.abort()

    # Fetching, on the thread

    def _run(self) -> None:
        try:
            self._hash_earlier()
            with making(self._call):
                self._fetch()
            self._verify()
        except Exception as error:  # noqa: BLE001 followers must hear of whatever ended it
            self.file.end(error)
        else:
            self.file.end()
        self._source.close()
        try:
            if self.file.error is None:
                self.file.sync()
        except OSError as error:
            self.file.error = error
        try:
            self._finish(self)
        finally:
            self._retire()

    def _hash_earlier(self) -> None:
        """Hash what an earlier process left, so that one hash covers the whole."""
        hashed = 0
        for data in self.file.chunks():
            self._hasher.update(data)
            self._throughput.add(len(data))
            hashed += len(data)
        if hashed < self.file.written:
            raise DownloadError("the partial file shrank")

    def _fetch(self) -> None:
        """Read upstream to the end of the blob, into hash and file."""
        file, hasher = self.file, self._hasher
        for data in self._source.chunks():
            self.received += len(data)
            end = file.written + len(data)
            if end > self._room:
                self._claim_room(end)
            hasher.update(data)
            file.append(data)

    def _check(self) -> None:
        """Raise where it is to end, or is nobody's and does not move."""
        if self._stopped.is_set():
            raise self._why
        if not self.file.is_followed and self.is_slow():
            raise GaveWay("nobody waits for it, and it hardly moves")

    def _claim_room(self, end: int) -> None:
        self._room = self._claim(self, end)
        if self._room < end:
            raise OSError(errno.ENOSPC, "no room within the size limit")

    def _verify(self) -> None:
        if not fits(self._hasher, self.digest):
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

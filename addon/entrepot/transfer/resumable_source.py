"""The bytes of one blob from upstream, in order, however often the connection breaks.

A broken transfer is resumed with Range from where it broke (RFC 9110 section 14.2), after pauses
that grow. An upstream that knows no ranges sends the whole again: what is here already is passed
over, and compared, since readers have it. Where one connection is slow, several are used
(``parallel_ranges``), and one again where these hardly move.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol.statuses import TRANSIENT_WHILE_FETCHING
from entrepot.transfer.errors import DownloadError, MismatchError
from entrepot.transfer.parallel_ranges import SMALLEST_BLOB, ParallelRanges
from entrepot.transfer.throughput import Pace, Throughput

_LARGEST_READ = 1024 * 1024
_PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each attempt to go on after a break, from the first since bytes came."""

_SPEED_UPS = 3
"""How often a download may try to go on by several connections."""


class ResumableSource:
    """Reads a blob on one thread, from an offset to its end."""

    def __init__(
        self,
        *,
        reopen: Callable[[int], Reply],
        part: Callable[[Reply, int, int], Reply],
        read_back: Callable[[int, int], bytes],
        folder: Path,
        throughput: Throughput,
        check: Callable[[], None],
        stopped: threading.Event,
    ) -> None:
        """Prepare to read; :meth:`begin` says from what.

        ``reopen`` asks upstream again from an offset on, ``part`` asks where a reply came from for
        the bytes between two offsets. ``read_back`` gives bytes that were read before, by offset
        and count. ``folder`` takes what parallel connections fetch ahead. ``check`` raises where
        the reading is to end, as it does once ``stopped`` is set.
        """
        self._reopen = reopen
        self._part = part
        self._read_back = read_back
        self._folder = folder
        self._throughput = throughput
        self._check = check
        self._stopped = stopped
        self._source: Reply | ParallelRanges | None = None
        self._size: int | None = None
        self._at = 0
        self._repeated = 0
        """How many of the bytes that come next are here already."""
        self._pace = Pace()
        self._speed_ups = _SPEED_UPS

    def begin(self, reply: Reply, at: int, size: int | None) -> None:
        """Take upstream's 200 or 206 as the source of what follows ``at``, up to ``size``."""
        self._at, self._size = at, size
        self._use(reply)

    def chunks(self) -> Iterator[bytes]:
        """What comes, in order, to the end of the blob.

        Raises :class:`DownloadError` where it cannot be had, :class:`MismatchError` where it is
        not what was announced or sent before, and what ``check`` raises.
        """
        pauses = iter(_PAUSES)
        while True:
            before = self._at
            try:
                yield from self._read()
            except UpstreamError as error:
                problem = str(error)
            else:
                if self._size is None and self._stopped.is_set():
                    self._check()  # what was broken off may look like an end
                if self._size is None or self._at == self._size:
                    return
                problem = "upstream sent less than it announced"
            if self._at > before:
                pauses = iter(_PAUSES)
            self._resume(pauses, problem)

    def abort(self) -> None:
        """Wake a thread that waits for parallel connections; from another one."""
        if isinstance(source := self._source, ParallelRanges):
            source.abort()

    def close(self) -> None:
        """End the connections that are in use."""
        if self._source is not None:
            self._source.close()

    def _use(self, reply: Reply) -> None:
        self._source = reply
        self._pace = Pace()
        self._repeated = self._at - first_offset(reply, self._at)

    def _read(self) -> Iterator[bytes]:
        """Read one source to its end."""
        source = self._source
        while source is not None:
            self._check()
            if isinstance(source, Reply):
                data = self._pace.read(source, _LARGEST_READ)
            else:
                data = source.read(_LARGEST_READ)
            if not data:
                return
            self._throughput.add(len(data))
            if self._repeated:
                data = self._same_again(data)
            if data:
                self._at += len(data)
                if self._size is not None and self._at > self._size:
                    raise MismatchError("upstream sent more than it announced")
                yield data
            if isinstance(source, ParallelRanges):
                self._slow_down()
            elif self._pace.is_slow():
                source = self._source = self._sped_up(source)

    def _same_again(self, data: bytes) -> bytes:
        """Pass over bytes that are already here; they must be the same, since readers have them."""
        known = data[: self._repeated]
        if self._read_back(self._at - self._repeated, len(known)) != known:
            raise MismatchError("upstream sent other bytes when asked again")
        self._repeated -= len(known)
        return data[len(known) :]

    def _resume(self, pauses: Iterator[float], problem: str) -> None:
        """Ask upstream again from where the bytes end."""
        self.close()
        for pause in pauses:
            self._stopped.wait(pause)
            self._check()
            try:
                reply = self._reopen(self._at)
            except UpstreamError as error:
                problem = str(error)
                continue
            if reply.status in (200, 206):
                self._use(reply)
                return
            reply.close()
            problem = f"upstream answered {reply.status} to a resumed fetch"
            if reply.status not in TRANSIENT_WHILE_FETCHING:
                break
        raise DownloadError(problem)

    def _sped_up(self, reply: Reply) -> Reply | ParallelRanges:
        """Go on by several connections, where that can be and may help."""
        self._pace = Pace()
        size = self._size
        if self._repeated or size is None or size < SMALLEST_BLOB or not self._speed_ups:
            return reply
        self._speed_ups -= 1
        parallel = ParallelRanges(
            reply,
            self._at,
            size,
            ask=lambda start, stop: self._part(reply, start, stop),
            folder=self._folder,
        )
        return parallel if parallel.start() else reply

    def _slow_down(self) -> None:
        """Go back to one connection where several hardly move: others have more use for them."""
        if self._throughput.is_slow():
            self._speed_ups = 0
            raise UpstreamError("several connections hardly moved")


def first_offset(reply: Reply, wanted: int) -> int:
    """The offset of the first byte that ``reply`` sends: 0, or where a 206 says it starts.

    Raises :class:`DownloadError` where a 206 does not go on from what is here up to ``wanted``.
    """
    if reply.status != 206:
        return 0
    content_range = reply.content_range
    if content_range is None:
        raise DownloadError("upstream sent 206 without a usable Content-Range")
    if content_range.first > wanted:
        raise DownloadError("upstream sent a later range than was asked for")
    return content_range.first


def whole_size(reply: Reply, start: int) -> int | None:
    """How large the blob is; a 206 may carry less than the rest of it (RFC 9110 section 15.3.7)."""
    content_range = reply.content_range
    if content_range is not None and content_range.size is not None:
        return content_range.size
    return None if reply.length is None else start + reply.length

"""One connection after another that fills a segment of a blob, however often one breaks.

A broken transfer is resumed with Range from where it broke (RFC 9110 section 14.2), after pauses
that grow. What comes and is here already is passed over, and compared, since readers have it: so
does an upstream that knows no ranges, and sends the whole again.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol.statuses import TRANSIENT_WHILE_FETCHING
from entrepot.transfer.errors import DownloadError, MismatchError
from entrepot.transfer.filling.reservations import Reservations
from entrepot.transfer.filling.segments import Segment, Segments
from entrepot.transfer.filling.source import end_of, first_offset
from entrepot.transfer.growing_file import GrowingFile

_READ = 256 * 1024
_PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each attempt to go on after a break, from the first since bytes came."""


class NoRangesError(UpstreamError):
    """Upstream answers with the whole where a part was asked for."""


@dataclass(frozen=True, slots=True)
class Filling:
    """What all connections of one download share."""

    file: GrowingFile
    reservations: Reservations
    segments: Segments
    check: Callable[[], None]
    """Raises where the download is to end, as it does once ``stopped`` is set."""
    stopped: threading.Event
    ask: Callable[[Segment], Reply]
    """Asks upstream for what is left of a segment. Raises ``UpstreamError``."""
    take: Callable[[int, memoryview], None]
    """Writes bytes that are not here into the file."""
    count: Callable[[int], None]
    """Hears how many bytes came."""


class Filler:
    """Fills segments, one after another, on one thread."""

    def __init__(
        self,
        filling: Filling,
        read: Callable[[Reply, int], bytes],
        after_read: Callable[[Segment], None],
        *,
        leads: bool,
    ) -> None:
        """``read`` reads from a reply; ``after_read`` hears after each.

        Who ``leads`` takes the whole where upstream gives no parts, and gives up at once where an
        answer cannot be a part of the blob.
        """
        self._filling = filling
        self._reader = read
        self._after_read = after_read
        self._leads = leads

    def fill(self, segment: Segment, reply: Reply | None = None) -> None:
        """Fetch what is left of a segment, first from ``reply``, which is closed.

        Raises :class:`DownloadError` where it cannot be had, :class:`MismatchError` where it is not
        what was announced or sent before, OSError, and what ``check`` raises.
        """
        pauses = iter(_PAUSES)
        while True:
            before = segment.at
            problem = self._attempt(segment, reply)
            reply = None
            if segment.at >= segment.stop:
                return
            if segment.at > before:
                pauses = iter(_PAUSES)
            if problem is not None:
                self._pause(pauses, problem)

    def _attempt(self, segment: Segment, reply: Reply | None) -> str | None:
        """Read one reply; what went wrong, if that may pass."""
        try:
            if reply is None:
                reply = self._asked(segment)
            return self._read(segment, reply)
        except (NoRangesError, MismatchError):
            raise
        except UpstreamError as error:
            return str(error)
        except DownloadError as error:
            if self._leads:
                raise
            return str(error)
        finally:
            if reply is not None:
                reply.close()

    def _pause(self, pauses: Iterator[float], problem: str) -> None:
        pause = next(pauses, None)
        if pause is None:
            raise DownloadError(problem)
        self._filling.stopped.wait(pause)
        self._filling.check()

    def _asked(self, segment: Segment) -> Reply:
        reply = self._filling.ask(segment)
        if reply.status == 200 and segment.at:
            with self._filling.file.changed:
                self._filling.segments.has_ranges = False
            if not self._leads:
                reply.close()
                raise NoRangesError(f"{reply.target.origin}: it does not give parts of a blob")
        if reply.status in (200, 206):
            return reply
        reply.close()
        problem = f"upstream answered {reply.status} to a resumed fetch"
        if reply.status not in TRANSIENT_WHILE_FETCHING:
            raise DownloadError(problem)
        raise UpstreamError(problem)

    def _read(self, segment: Segment, reply: Reply) -> str | None:
        """Read one reply as long as it is of use; why it ended before that."""
        filling = self._filling
        at, end = first_offset(reply, segment.at), end_of(reply)
        size = filling.file.size
        if not self._leads and reply.status == 206:
            found = reply.content_range
            if found is not None and found.size not in (None, size):
                raise DownloadError("upstream sent a part of something else")
        while True:
            filling.check()
            data = memoryview(self._reader(reply, _READ))
            filling.count(len(data))
            if end is not None:
                data = data[: end - at]  # what is beyond has no place
            if not data:
                return self._ended(segment)
            self._put(at, data)
            at += len(data)
            with filling.file.changed:
                goes_on = filling.segments.advance(segment, at, end)
            if not goes_on:
                return None
            self._after_read(segment)

    def _ended(self, segment: Segment) -> str | None:
        """What to think of the end of a body."""
        filling = self._filling
        if filling.file.size is None:
            if filling.stopped.is_set():
                filling.check()  # what was broken off may look like an end
            with filling.file.changed:
                filling.segments.size = segment.stop = segment.at
            return None
        return "upstream sent less than it announced"

    def _put(self, at: int, data: memoryview) -> None:
        """Write what is missing of these bytes; compare the others, which readers may have."""
        filling = self._filling
        size = filling.file.size
        end = at + len(data)
        if size is not None and end > size:
            raise MismatchError("upstream sent more than it announced")
        while data:
            with filling.reservations.next(at, end) as reserved:
                count = reserved.stop - at
                part = data[:count]
                if not reserved.is_here:
                    filling.take(at, part)
                elif filling.file.read_back(at, count) != part:
                    raise MismatchError("upstream sent other bytes when asked again")
            data, at = data[count:], at + count

"""What of a blob to fetch next: pure bookkeeping, whose caller holds the file's lock.

A *segment* is what one connection is fetching; a *stretch* is what a client waits for. A stretch
is fetched at once, unless a segment that reaches it soon is under way; the tail of one that does
not is taken from it. So every byte crosses the line once, but for small stretches that lie within
a segment: these come twice, since a new connection behind them would cost more.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from entrepot.intervals import Intervals, Span
from entrepot.transfer.filling.source import Source

ENDLESS = 1 << 62
"""Where a segment ends while nobody knows how large the blob is."""

NEAR = 1024 * 1024
"""Bytes that a segment brings sooner than another connection would begin."""
JOINED = 64 * 1024
"""So many bytes between the stretches of a request are fetched with them, the smallest gaps first;
and a stretch that is a request's only one is read ahead to so many."""
_JOINED_PART = 20
"""Or this part of what the request is for, whatever is more."""
MOST_QUEUED = 1024
"""Stretches that wait to be fetched, whoever wants them."""
AHEAD = 8 * 1024 * 1024
"""How far ahead of a client that reads on from the middle its bytes are fetched."""
READ_THROUGH = 1024 * 1024
"""Bytes that are here already and are read again rather than to open another connection."""


@dataclass(slots=True, eq=False)
class Segment:
    """What one connection fetches: what is left of it, from ``at`` up to ``stop``."""

    at: int
    stop: int
    source: Source | None = None
    """As whom; None: as the client that began the download."""
    wanted: bool = False
    """Whether a client waits for just this."""
    is_to_end: bool = False
    """Whether it is to make way for what is wanted more."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    start: int
    stop: int
    source: Source
    is_alone: bool = False
    """Whether it is all of a request: then the next is likely to be for what follows."""


class Segments:
    """What is there of a blob, what is being fetched, and what is wanted."""

    def __init__(self, covered: Intervals) -> None:
        self.covered = covered
        self.size = ENDLESS
        self.has_ranges = True
        """False where upstream does not give parts: then one connection reads all of it."""
        self._flying: list[Segment] = []
        self._queue: deque[_Stretch] = deque()
        self._queued = Intervals()
        """What is in the queue, each byte once."""

    @property
    def is_complete(self) -> bool:
        """Whether all of the blob is there."""
        return self.covered.end_from(0) >= self.size

    @property
    def waiting(self) -> int:
        """How many stretches nobody fetches yet."""
        return len(self._queue)

    @property
    def are_wanted(self) -> bool:
        """Whether a stretch waits, or is being fetched."""
        return bool(self._queue) or any(segment.wanted for segment in self._flying)

    def begin(self, segment: Segment) -> Segment:
        """Note that a segment is being fetched."""
        self._flying.append(segment)
        return segment

    def end(self, segment: Segment) -> None:
        """Note that it is not any more; what is left of it is nobody's."""
        if segment in self._flying:
            self._flying.remove(segment)

    def give_way(self) -> None:
        """Have all end soon that nobody waits for in particular."""
        for segment in self._flying:
            segment.is_to_end = segment.is_to_end or not segment.wanted

    # What clients wait for

    def want(self, spans: Iterable[Span], source: Source) -> None:
        """Queue what is missing of these stretches and does not come soon.

        The first in any case, for which somebody waits just now; of the others as many as there is
        place for: they are wanted again when they are waited for.
        """
        stretches = _joined(spans, self.size)
        for start, stop in stretches:
            for number, gap in enumerate(list(self._unwished(start, stop))):
                if number and len(self._queue) >= MOST_QUEUED:
                    return
                self._put(_Stretch(*gap, source, is_alone=len(stretches) == 1))
            if len(self._queue) >= MOST_QUEUED:
                return

    def is_coming(self, offset: int) -> bool:
        """Whether a byte is queued, or comes soon by a segment that is being fetched."""
        soon = (one for one in self._flying if one.at <= offset < one.stop)
        is_queued = self._queued.end_from(offset) > offset
        return is_queued or any(offset - one.at <= NEAR for one in soon)

    def forget_wanted(self) -> None:
        """Let nobody fetch ahead: upstream does not give parts."""
        self._queue.clear()
        self._queued.clear()

    def take_wanted(self) -> Segment | None:
        """The next stretch that is still missing, as a segment that is being fetched from now."""
        while self._queue:
            stretch = self._queue.popleft()
            self._queued.remove(stretch.start, stretch.stop)
            pieces = list(self._missing(stretch.start, stretch.stop))
            for start, stop in reversed(pieces[1:]):
                self._put(_Stretch(start, stop, stretch.source), first=True)
            if pieces:
                start, stop = pieces[0]
                ahead = min(self.size, start + JOINED if stretch.is_alone else stop)
                stop = max(stop, min(ahead, self._free_end(start, ahead)))
                self._take_from_others(start, stop)
                return self.begin(Segment(start, stop, stretch.source, wanted=True))
        return None

    def _unwished(self, start: int, stop: int) -> Iterator[Span]:
        """What of a stretch is neither there, nor comes soon, nor is queued."""
        for missing in self._missing(start, stop):
            yield from self._queued.gaps(*missing)

    def _put(self, stretch: _Stretch, *, first: bool = False) -> None:
        """Queue what is not queued yet."""
        self._queued.add(stretch.start, stretch.stop)
        if first:
            self._queue.appendleft(stretch)
        else:
            self._queue.append(stretch)

    def _missing(self, start: int, stop: int) -> Iterator[Span]:
        """What of a stretch is neither there nor comes soon."""
        for gap in list(self.covered.gaps(start, min(stop, self.size))):
            parts = [gap]
            for segment in self._flying:
                parts = [left for part in parts for left in _without(part, segment)]
            yield from parts

    def _take_from_others(self, start: int, stop: int) -> None:
        """Shorten the segments that would come to this too late."""
        for segment in self._flying:
            if not segment.at < start < segment.stop:
                continue
            if stop < segment.stop and stop - start < READ_THROUGH:
                continue
            rest, segment.stop = segment.stop, start
            if rest > stop and segment.wanted and segment.source is not None:
                for gap in list(self._queued.gaps(stop, rest)):
                    self._put(_Stretch(*gap, segment.source))

    # What nobody waits for yet

    def take_next(self, most: int) -> Segment | None:
        """The lowest bytes that are neither there nor being fetched."""
        start = self._free_start(0)
        if start >= self.size:
            return None
        return self.begin(Segment(start, self._free_end(start, min(self.size, start + most))))

    def _free_start(self, start: int) -> int:
        """The first offset from ``start`` on that is neither there nor being fetched."""
        while True:
            found = self.covered.end_from(start)
            for segment in self._flying:
                if segment.at <= found < segment.stop:
                    found = segment.stop
            if found == start:
                return start
            start = found

    def _free_end(self, start: int, stop: int) -> int:
        """How far it is free from ``start`` on, at most to ``stop``."""
        stop = self.covered.gap_end(start, stop)
        return min([stop, *(one.at for one in self._flying if start < one.at < stop)])

    # What comes

    def advance(self, segment: Segment, at: int, end: int | None) -> bool:
        """Note how far a connection has read that ends at ``end``; whether it is to read on."""
        segment.at = max(segment.at, at)
        if segment.is_to_end:
            segment.stop = min(segment.stop, segment.at)
            return False
        if segment.at < segment.stop:
            here = self.covered.end_from(segment.at)
            if here < segment.stop:
                if here - segment.at >= READ_THROUGH and self.has_ranges:
                    segment.at = here
                    return False
                return True
            segment.at = segment.stop
        return self._extend(segment, at, end)

    def _extend(self, segment: Segment, at: int, end: int | None) -> bool:
        """Go on behind what was taken from a segment, where its connection comes to there soon."""
        limit = min(self.size, ENDLESS if end is None else end)
        start = self._free_start(segment.stop)
        if start >= limit or (self.has_ranges and start - at >= READ_THROUGH):
            return False
        segment.at, segment.stop = start, self._free_end(start, limit)
        return True


def _joined(spans: Iterable[Span], size: int) -> list[Span]:
    """Stretches within the blob in order, those with small gaps between them as one."""
    found = sorted((start, min(stop, size)) for start, stop in spans)
    largest = _largest_gap(found)
    joined: list[Span] = []
    for start, stop in found:
        if joined and start - joined[-1][1] <= largest:
            joined[-1] = joined[-1][0], max(joined[-1][1], stop)
        else:
            joined.append((start, stop))
    return joined


def _largest_gap(spans: list[Span]) -> int:
    """Up to which size gaps are fetched too."""
    left = max(JOINED, sum(stop - start for start, stop in spans) // _JOINED_PART)
    largest = smaller = 0
    for gap in sorted(max(0, after[0] - before[1]) for before, after in pairwise(spans)):
        left -= gap
        if left < 0:
            return largest if gap > largest else smaller
        if gap > largest:
            smaller, largest = largest, gap
    return largest


def _without(span: Span, segment: Segment) -> Iterator[Span]:
    """What a segment does not bring of a span, or not soon."""
    start, stop = max(span[0], segment.at), min(span[1], segment.stop)
    if start >= stop or start - segment.at > NEAR:
        yield span
        return
    if span[0] < start:
        yield span[0], start
    if stop < span[1]:
        yield stop, span[1]

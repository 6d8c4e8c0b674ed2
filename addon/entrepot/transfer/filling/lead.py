"""The connection that a download has in any case: it fetches what nobody else does, in order.

What clients wait for comes first. The rest follows from the beginning on, as one stream as long as
nobody asks for parts; afterwards, or where one connection is slow and others help, in pieces.
"""

import time
from collections.abc import Sequence

from entrepot.http_client.response import Reply
from entrepot.intervals import Span
from entrepot.transfer.errors import GaveWay
from entrepot.transfer.filling.connection_budget import HELPERS
from entrepot.transfer.filling.filler import Filler, Filling
from entrepot.transfer.filling.segments import AHEAD, ENDLESS, Segment
from entrepot.transfer.filling.source import Source
from entrepot.transfer.filling.workers import Workers, piece
from entrepot.transfer.throughput import Pace, Throughput

SMALLEST_BLOB = 32 * 1024 * 1024
"""Of a smaller one no connection helps another."""
_SPEED_UPS = 3
"""How often a download may try to go on by several connections."""
_LOW_PRIORITY_SECONDS = 5.0
"""How long clients' own stretches come first, and alone."""
_QUIET_SECONDS = 1.0
"""How long no client has asked for more before the rest is fetched: who reads in parts looks at
one before it asks for the next, and would meet the rest on the line."""
_REST_SECONDS = 30.0
"""After how long without a wish a download rests that is filled as asked."""
_LOOK_SECONDS = 0.25


class Lead:
    """The thread of one download, and what it knows of upstream."""

    def __init__(
        self,
        filling: Filling,
        workers: Workers,
        throughput: Throughput,
        source: Source,
        *,
        completes: bool,
    ) -> None:
        """Unless it ``completes``, nothing is fetched that no client waits for."""
        self._filling = filling
        self._segments = filling.segments
        self._changed = filling.file.changed
        self._workers = workers
        self._throughput = throughput
        self._source = source
        self._completes = completes
        self._nearest: Reply | None = None
        """The answer that came last: what it came from gives other parts too."""
        self._begun: tuple[Segment, Reply] | None = None
        self._own: Segment | None = None
        self._in_pieces = False
        self._asked_at = time.monotonic() - _QUIET_SECONDS
        self._pace = Pace()
        self._speed_ups = _SPEED_UPS

    def begin_whole(self, reply: Reply, at: int) -> None:
        """Read ``reply`` for all that follows ``at``."""
        self._nearest = reply
        segment = self._segments.begin(Segment(at, self._segments.size))
        self._begun = segment, reply

    def begin_part(self, reply: Reply, start: int, stop: int) -> None:
        """Read ``reply`` for the client that asked first, which waits for this part."""
        self._nearest, self._in_pieces, self._asked_at = reply, True, time.monotonic()
        segment = self._segments.begin(Segment(start, stop, self._source, wanted=True))
        with self._changed:
            self._workers.begin(reply.target.origin, segment, reply)

    # On the loop

    def want(self, spans: Sequence[Span], source: Source) -> None:
        """Have stretches fetched at once, as a client."""
        with self._changed:
            self._asked_at = time.monotonic()
            has_parts = self._segments.has_ranges and self._segments.size < ENDLESS
            if self._nearest is None or not has_parts:
                return
            self._segments.want(spans, source)
            if not self._segments.waiting:
                return
            self._in_pieces = True
            if not self._workers.hire(self._nearest.target.origin) and self._own is not None:
                self._own.is_to_end = True
            self._changed.notify_all()

    def waits(self, offset: int, stop: int | None, early: bool) -> None:  # noqa: FBT001 a row of facts
        """Hear that a client waits for a byte: it must be on its way."""
        with self._changed:
            if self._segments.is_coming(offset):
                return
        size = self._segments.size
        end = min(size, offset + AHEAD) if stop is None else min(stop, offset + AHEAD)
        if early or offset:
            self.want([(offset, end)], self._source)

    # On the thread

    def run(self) -> None:
        """Fetch until all is there. Raises what ends the download."""
        filler = Filler(self._filling, self._read, self._after_read, leads=True)
        while True:
            segment, reply = self._begun or (self._next(), None)
            self._begun = None
            if segment is None:
                return
            self._own, self._pace = segment, Pace()
            try:
                filler.fill(segment, reply)
            finally:
                with self._changed:
                    self._own = None
                    self._segments.end(segment)
                    self._changed.notify_all()

    def ask(self, segment: Segment) -> Reply:
        """Ask upstream for what is left of a segment; on any of the threads."""
        source = segment.source or self._source
        is_rest = segment is self._own and segment.stop >= self._segments.size
        if is_rest and not (self._in_pieces and self._segments.has_ranges):
            reply = source.reopen(segment.at)
        else:
            reply = source.part(self._nearest, segment.at, segment.stop)
        if reply.status == 206:
            self._nearest = reply
        return reply

    def _next(self) -> Segment | None:
        """Wait for something to do; None where all is there."""
        began = time.monotonic()
        with self._changed:
            while True:
                self._filling.check()
                if self._segments.is_complete:
                    return None
                if not self._workers.count and (segment := self._segments.take_wanted()):
                    return segment
                if self._is_to_fill(time.monotonic() - began):
                    if segment := self._segments.take_next(self._length()):
                        return segment
                elif self._segments.are_wanted:
                    began = max(began, time.monotonic() - _LOW_PRIORITY_SECONDS)
                elif time.monotonic() - began > _REST_SECONDS:
                    raise GaveWay("nobody wants more of it")
                self._changed.wait(_LOOK_SECONDS)

    def _length(self) -> int:
        if not self._segments.has_ranges or not self._in_pieces:
            return ENDLESS
        return piece(self._segments.size - self._segments.covered.total)

    def _is_to_fill(self, waited: float) -> bool:
        """Whether to fetch what nobody waits for in particular."""
        if self._filling.file.is_followed_to_end or not self._segments.has_ranges:
            return True
        if not self._completes:
            return False
        is_quiet = time.monotonic() - self._asked_at >= _QUIET_SECONDS
        return waited >= _LOW_PRIORITY_SECONDS or (is_quiet and not self._segments.are_wanted)

    def _is_to_pause(self, segment: Segment) -> bool:
        """Whether a client waits for other bytes than those of a segment, and none for the rest."""
        file, segments = self._filling.file, self._segments
        is_rest = not (segment.wanted or segment.is_to_end or file.is_followed_to_end)
        return is_rest and segments.are_wanted and not self._filling.stopped.is_set()

    def _read(self, reply: Reply, most: int) -> bytes:
        return self._pace.read(reply, most)

    def _after_read(self, segment: Segment) -> None:
        """Let clients go first; have others help where one connection is slow.

        Be content with one where all are.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._is_to_pause(segment), _LOW_PRIORITY_SECONDS)
        if self._speed_ups and self._throughput.is_slow():
            self._speed_ups = 0
            with self._changed:
                self._segments.give_way()
        if self._pace.is_slow():
            self._pace = Pace()
            self._speed_up(segment)

    def _speed_up(self, segment: Segment) -> None:
        size, nearest = self._segments.size, self._nearest
        if not SMALLEST_BLOB <= size < ENDLESS or nearest is None or not self._speed_ups:
            return
        with self._changed:
            if self._workers.count >= HELPERS or not self._segments.has_ranges:
                return
            stop = segment.at + piece(size - self._segments.covered.total)
            if stop >= segment.stop and not self._in_pieces:
                return
            before, segment.stop = segment.stop, min(segment.stop, stop)
            self._speed_ups -= 1
            if self._workers.help(nearest.target.origin):
                self._in_pieces = True
            else:
                segment.stop = before

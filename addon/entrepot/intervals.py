"""Which bytes of a file are there: a set of half-open intervals of offsets.

Kept as two sorted lists, so that a look-up is a bisection, and intervals that touch are one: a
file that came in order is one interval, however many pieces it came in.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Span = tuple[int, int]
"""``(start, stop)``: the offsets from ``start`` up to ``stop``, which is not in it."""


class Intervals:
    """Sorted, disjoint intervals that do not touch each other; offsets are bytes, never negative.

    For one thread at a time: whoever shares it holds a lock.
    """

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.total = 0
        """How many bytes are covered."""
        for start, stop in spans:
            self.add(start, stop)

    def __iter__(self) -> Iterator[Span]:
        """The intervals, the lowest first."""
        return zip(self._starts, self._stops, strict=True)

    def __len__(self) -> int:
        """How many intervals there are."""
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Intervals):
            return NotImplemented
        return self._starts == other._starts and self._stops == other._stops

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Intervals({list(self)!r})"

    @property
    def end(self) -> int:
        """Where the last interval ends; 0 where nothing is covered."""
        return self._stops[-1] if self._stops else 0

    def clear(self) -> None:
        """Cover nothing."""
        self._starts.clear()
        self._stops.clear()
        self.total = 0

    def add(self, start: int, stop: int) -> int:
        """Cover an interval; how many of its bytes were not covered before.

        Raises ``ValueError`` where it begins before 0. One that ends where it begins, or before
        that, covers nothing.
        """
        if start < 0:
            raise ValueError(f"expected an interval that begins at 0 or later, got {start!r}")
        if stop <= start:
            return 0
        first = bisect_left(self._stops, start)  # the first that touches it, from here on
        last = bisect_right(self._starts, stop)  # the first after all that touch it
        before = sum(self._stops[first:last]) - sum(self._starts[first:last])
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]
        added = stop - start - before
        self.total += added
        return added

    def remove(self, start: int, stop: int) -> int:
        """Cover an interval no more; how many of its bytes were covered before."""
        if stop <= start:
            return 0
        first = bisect_right(self._stops, start)  # the first that reaches into it
        last = bisect_left(self._starts, stop)  # the first after all that do
        if first >= last:
            return 0
        before, after = self._starts[first], self._stops[last - 1]
        removed = sum(self._stops[first:last]) - sum(self._starts[first:last])
        left = [span for span in ((before, start), (stop, after)) if span[0] < span[1]]
        self._starts[first:last] = [span[0] for span in left]
        self._stops[first:last] = [span[1] for span in left]
        removed -= sum(end - begin for begin, end in left)
        self.total -= removed
        return removed

    def covers(self, start: int, stop: int) -> bool:
        """Whether all bytes of an interval are covered; those of an empty one are."""
        return stop <= start or self.end_from(start) >= stop

    def end_from(self, offset: int) -> int:
        """Where the covered bytes that begin at ``offset`` end; ``offset`` where it is a gap."""
        index = bisect_right(self._starts, offset) - 1
        return offset if index < 0 else max(offset, self._stops[index])

    def gap_end(self, offset: int, stop: int) -> int:
        """Where the gap at ``offset`` ends, ``stop`` at the latest; ``offset`` where it is none."""
        if self.end_from(offset) > offset:
            return offset
        index = bisect_right(self._starts, offset)
        return min(stop, self._starts[index]) if index < len(self._starts) else stop

    def gaps(self, start: int, stop: int) -> Iterator[Span]:
        """What is not covered of an interval, the lowest first.

        Not to be added to before it is read to its end.
        """
        index = bisect_right(self._stops, start)
        while start < stop:
            if index == len(self._starts):
                yield start, stop
                return
            covered, after = self._starts[index], self._stops[index]
            if start < covered:
                yield start, min(covered, stop)
            start = after
            index += 1

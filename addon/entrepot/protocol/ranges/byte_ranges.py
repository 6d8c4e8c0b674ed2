"""``Range``: which parts of content a client asks for (RFC 9110 section 14).

Whoever reads lazily asks for many at once: podman for up to 1,024. How they are answered is in
``multipart``.
"""

import re
from dataclasses import dataclass
from typing import Self

MOST_RANGES = 1024
"""How many in one field are answered as parts. Containers' storage library asks for as many."""

Span = tuple[int, int]
"""A half-open ``(start, stop)`` of byte offsets, never empty."""

_UNIT = re.compile(r"bytes=", re.IGNORECASE | re.ASCII)
_RANGE = re.compile(r"([0-9]{0,19})-([0-9]{0,19})", re.ASCII)
"""19 digits: every 63-bit size fits."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One requested range of bytes, both ends included; `first` is None for the last `last` bytes.

    >>> str(ByteRange(0, 99)), str(ByteRange(5, None)), str(ByteRange(None, 5))
    ('0-99', '5-', '-5')
    """

    first: int | None
    last: int | None

    @classmethod
    def parse(cls, value: str) -> Self | None:
        """Read one element of a Range field; None where it is malformed."""
        match = _RANGE.fullmatch(value)
        if match is None or not (match[1] or match[2]):
            return None
        first, last = (int(digits) if digits else None for digits in match.groups())
        if first is not None and last is not None and last < first:
            return None
        return cls(first, last)

    @property
    def is_open(self) -> bool:
        """Whether it goes to the end, wherever that is: what resumes a transfer asks so."""
        return self.last is None

    def resolve(self, size: int) -> Span | None:
        """Return the half-open `(start, stop)` within `size` bytes, never empty.

        None where the range is unsatisfiable (RFC 9110 14.1.2), and for every range of an empty
        representation, since no Content-Range can say "no bytes".
        """
        if self.first is None:
            start, stop = max(0, size - (self.last or 0)), size
        else:
            start, stop = self.first, size if self.last is None else min(size, self.last + 1)
        return (start, stop) if start < stop else None

    def __str__(self) -> str:
        ends = ("" if end is None else end for end in (self.first, self.last))
        return "{}-{}".format(*ends)


@dataclass(frozen=True, slots=True)
class RangeSet:
    """The ranges of a Range field, in the order in which they were asked for; at least one.

    >>> RangeSet.parse("bytes=0-99, -5").resolve(1000)
    ((0, 100), (995, 1000))
    """

    ranges: tuple[ByteRange, ...]

    @classmethod
    def parse(cls, value: str) -> Self | None:
        """Read a Range field; None for what a server may ignore (RFC 9110 section 14.2).

        That is other units, anything malformed, and too many: the answer is then the whole.
        """
        value = value.strip(" \t")
        unit = _UNIT.match(value)
        if unit is None or value.count(",") >= MOST_RANGES:
            return None
        elements = (element.strip(" \t") for element in value[unit.end() :].split(","))
        ranges = []
        for element in filter(None, elements):  # empty ones do not count: section 5.6.1.2
            if (found := ByteRange.parse(element)) is None:
                return None
            ranges.append(found)
        return cls(tuple(ranges)) if ranges else None

    @property
    def is_several(self) -> bool:
        """Whether more than one was asked for: only then may there be several parts."""
        return len(self.ranges) > 1

    @property
    def is_bounded(self) -> bool:
        """Whether these are parts to be had as they come, by who verifies by itself.

        Not what resumes a transfer: that must not end before the whole is verified.
        """
        return self.is_several or not self.ranges[0].is_open

    def resolve(self, size: int) -> tuple[Span, ...] | None:
        """What is asked for of ``size`` bytes; none where all of it lies outside.

        None for the whole, where the parts together would be more than that: so what overlaps, be
        it asked for a thousand times, makes no answer larger. Those that overlap or touch stay
        apart: containers' image library takes the parts for its ranges one by one.
        """
        found = (one.resolve(size) for one in self.ranges)
        spans = tuple(span for span in found if span is not None)
        return None if sum(stop - start for start, stop in spans) > size else spans

    def __str__(self) -> str:
        """The field's value, in its shortest spelling."""
        return f"bytes={','.join(map(str, self.ranges))}"

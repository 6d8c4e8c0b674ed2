"""``multipart/byteranges``: several parts of content in one answer (RFC 9110 section 14.6)."""

import secrets
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

from entrepot.protocol.ranges.byte_ranges import Span


def random_boundary() -> str:
    """What separates the parts, which nobody can have put into the content."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Multipart:
    """How parts of content of ``size`` bytes, two at least, are framed in one body."""

    boundary: str
    media_type: str
    size: int
    places: "array[int]"
    """Where each part starts and stops: numbers alone, since a client that stalls holds them."""

    @classmethod
    def make(cls, boundary: str, media_type: str, size: int, spans: Sequence[Span]) -> Self:
        """Frame these ``spans`` of content of a ``media_type``."""
        return cls(boundary, media_type, size, array("Q", chain.from_iterable(spans)))

    def __len__(self) -> int:
        """How many parts there are."""
        return len(self.places) // 2

    def span(self, part: int) -> Span:
        """Where a part lies in the content."""
        return self.places[2 * part], self.places[2 * part + 1]

    @property
    def spans(self) -> Iterator[Span]:
        """Where all of them lie, in order."""
        return map(self.span, range(len(self)))

    @property
    def content_type(self) -> str:
        """The answer's ``Content-Type``."""
        return f"multipart/byteranges; boundary={self.boundary}"

    def before(self, part: int) -> bytes:
        """What stands before the bytes of a part: the boundary, and its own header fields."""
        start, stop = self.span(part)
        line_end = "\r\n" if part else ""
        media_type = f"Content-Type: {self.media_type}\r\n" if self.media_type else ""
        place = f"Content-Range: bytes {start}-{stop - 1}/{self.size}"
        return f"{line_end}--{self.boundary}\r\n{media_type}{place}\r\n\r\n".encode("latin-1")

    @property
    def end(self) -> bytes:
        """What stands behind the last part."""
        return f"\r\n--{self.boundary}--\r\n".encode("latin-1")

    @property
    def length(self) -> int:
        """How many bytes the body has: its ``Content-Length``."""
        each = len(self.before(1)) - _digits(*self.span(1))
        framing = len(self) * each - len("\r\n") + len(self.end)
        return framing + sum(stop - start + _digits(start, stop) for start, stop in self.spans)

    def of(self, content: bytes) -> bytes:
        """The whole body, where the content is at hand."""
        parts = (
            self.before(part) + content[start:stop] for part, (start, stop) in enumerate(self.spans)
        )
        return b"".join((*parts, self.end))


def _digits(start: int, stop: int) -> int:
    """How many say where a part is; all else is as long for each, but for the first line's end."""
    return len(f"{start}{stop - 1}")

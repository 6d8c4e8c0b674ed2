"""Answers made of content that is here: hits, and the growing file of a miss.

Ranges and conditions are answered from complete bytes (RFC 9110 sections 13.1.2, 13.1.5 and 14).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.header_filters import without
from entrepot.protocol.headers import ContentRange, etag_matches
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import (
    API_VERSION,
    Answer,
    Body,
    Fields,
    Request,
    error_answer,
    said_digest,
)
from entrepot.protocol.ranges.byte_ranges import RangeSet, Span
from entrepot.protocol.ranges.multipart import Multipart, random_boundary
from entrepot.transfer.multipart_body import MultipartBody


class Part(NamedTuple):
    """What is read of some content: the bytes from ``start`` to ``stop`` (None: its end)."""

    start: int
    stop: int | None
    bounded: bool = False
    """Whether a client asked for just this, and so verifies the whole by itself
    (``RangeSet.is_bounded``)."""


def _nothing() -> None:
    """There is nothing to let go of."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be served: its digest, type and size, and how its bytes are read."""

    digest: Digest
    media_type: str
    size: int | None
    """None where upstream did not say and the download still runs."""
    source: bytes | Callable[[Part], Body]
    """The bytes, or what opens a part of them: as often as asked, until ``close``."""
    close: Callable[[], None] = _nothing
    """Ends what parts are opened from. Those that are open stay so."""
    want: Callable[[Sequence[Span]], None] = lambda _spans: None
    """Called with all parts of an answer, before the first of them is opened."""
    age: float = 0.0


def content_answer(
    request: Request,
    content: Content,
    how: CacheStatus,
    *,
    boundary: Callable[[], str] = random_boundary,
) -> Answer:
    """Answer GET or HEAD from ``content``; ``how`` it came to be.

    It is closed at once, or with the body where that has several parts; ``boundary`` makes what
    separates these.
    """
    fields: Fields = (
        ("Accept-Ranges", "bytes"),
        ("Docker-Content-Digest", str(content.digest)),
        ("ETag", _etag(content.digest)),
        ("Age", str(max(0, int(content.age)))),
        API_VERSION,
        how,
    )
    condition = request.value("If-None-Match")
    if condition is not None and etag_matches(condition, _etag(content.digest)):
        content.close()
        return Answer(304, fields)
    return _answer(request, content, fields, boundary)


def part_of(
    request: Request, whole: Answer, *, boundary: Callable[[], str] = random_boundary
) -> Answer:
    """Narrow a ``content_answer`` with its bytes at hand, which others share, to what is wanted."""
    digest, data = said_digest(whole.headers), whole.content
    at_hand = whole.status == 200 and whole.value("Accept-Ranges") == "bytes"
    if not at_hand or digest is None or not isinstance(data, bytes) or request.method != "GET":
        return whole
    content = Content(digest, whole.value("Content-Type") or "", len(data), data)
    fields = without(whole.headers, ("content-length", "content-type"))
    return _answer(request, content, fields, boundary)


def wanted_ranges(request: Request, digest: Digest) -> RangeSet | None:
    """The ranges in which a client wants the content of a digest; None where it is to be whole.

    ``Range`` is for GET alone, and what cannot be read is ignored (RFC 9110 section 14.2). After
    ``If-Range`` it counts where the content is what the client has a part of already: never by a
    date, since none is told, nor by a weak entity tag (section 13.1.5).
    """
    value, condition = request.value("Range"), request.value("If-Range")
    if request.method != "GET" or value is None:
        return None
    if condition is not None and condition.strip(" \t") != _etag(digest):
        return None
    return RangeSet.parse(value)


def _etag(digest: Digest) -> str:
    """A strong entity tag: what has a digest never changes."""
    return f'"{digest}"'


def _answer(
    request: Request, content: Content, fields: Fields, boundary: Callable[[], str]
) -> Answer:
    """The whole, or the part or parts that are wanted, with these fields."""
    wanted, size = wanted_ranges(request, content.digest), content.size
    spans = None if wanted is None or size is None else wanted.resolve(size)
    if wanted is None or size is None or spans is None:
        return _whole(request, content, fields)
    if not spans:
        content.close()
        return _unsatisfiable(size)
    content.want(spans)
    if len(spans) == 1:
        return _one_part(content, fields, _place(spans[0], size), wanted)
    framing = Multipart.make(boundary(), content.media_type, size, spans)
    return _several_parts(content, fields, framing)


def _place(span: Span, size: int) -> ContentRange:
    start, stop = span
    return ContentRange(start, stop - 1, size)


def _whole(request: Request, content: Content, fields: Fields) -> Answer:
    headers: Fields = (("Content-Type", content.media_type), *fields)
    if content.size is not None:
        headers = (("Content-Length", str(content.size)), *headers)
    if request.method == "HEAD":
        content.close()
        return Answer(200, headers)
    return Answer(200, headers, _opened(content, Part(0, content.size)))


def _one_part(content: Content, fields: Fields, place: ContentRange, wanted: RangeSet) -> Answer:
    part = Part(place.first, place.last + 1, wanted.is_bounded)
    headers: Fields = (
        ("Content-Range", str(place)),
        ("Content-Length", str(place.last + 1 - place.first)),
        ("Content-Type", content.media_type),
        *fields,
    )
    return Answer(206, headers, _opened(content, part))


def _opened(content: Content, part: Part) -> bytes | Body:
    if isinstance(content.source, bytes):
        return content.source[part.start : part.stop]
    try:
        return content.source(part)
    finally:
        content.close()


def _several_parts(content: Content, fields: Fields, framing: Multipart) -> Answer:
    headers: Fields = (
        ("Content-Length", str(framing.length)),
        ("Content-Type", framing.content_type),
        *fields,
    )
    source = content.source
    if isinstance(source, bytes):
        return Answer(206, headers, framing.of(source))
    body = MultipartBody(framing, lambda span: source(Part(*span, bounded=True)), content.close)
    return Answer(206, headers, body)


def _unsatisfiable(size: int) -> Answer:
    message = f"the range lies outside of the content, which has {size} bytes"
    refusal = error_answer(416, "RANGE_INVALID", message, want="bytes=FIRST-LAST, FIRST from 0")
    return refusal.adding(("Content-Range", f"bytes */{size}"))

"""Answers made of content that is here: hits, and the growing file of a miss.

Range and If-None-Match are answered from complete bytes (RFC 9110 sections 13.1.2 and 14).
"""

from collections.abc import Callable
from dataclasses import dataclass

from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.headers import ByteRange, etag_matches
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import (
    API_VERSION,
    Answer,
    Body,
    Fields,
    Request,
    error_answer,
)


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be served: its digest, type and size, and how to open a stretch of it."""

    digest: Digest
    media_type: str
    size: int | None
    """None where upstream did not say and the download still runs."""
    open: Callable[[int, int | None], bytes | Body]
    """Gives the bytes from a start to a stop (None: to the end)."""
    age: float = 0.0


def content_answer(request: Request, content: Content, how: CacheStatus, *, ranges: bool) -> Answer:
    """Answer GET or HEAD from ``content``; ``how`` it came to be.

    ``ranges``: whether part of it may be asked for (blobs; no client asks for part of a
    manifest).
    """
    etag = f'"{content.digest}"'
    common: Fields = (
        ("Docker-Content-Digest", str(content.digest)),
        ("ETag", etag),
        ("Age", str(max(0, int(content.age)))),
        API_VERSION,
        how,
    )
    condition = request.value("If-None-Match")
    if condition is not None and etag_matches(condition, etag):
        return Answer(304, common)
    if ranges:
        common = (("Accept-Ranges", "bytes"), *common)
    part = _part(request, content.size) if ranges else None
    if part == "unsatisfiable":
        return _unsatisfiable(content)
    start, stop = part if isinstance(part, tuple) else (0, content.size)
    headers: Fields = (("Content-Type", content.media_type), *common)
    if stop is not None:
        headers = (("Content-Length", str(stop - start)), *headers)
    if part is not None and stop is not None:
        span = f"bytes {start}-{stop - 1}/{content.size}"
        headers = (("Content-Range", span), *headers)
    body = b"" if request.method == "HEAD" else content.open(start, stop)
    return Answer(200 if part is None else 206, headers, body)


def wants_part(request: Request) -> bool:
    """Whether a request asks for one byte range, which needs the size to be known."""
    value = request.value("Range")
    return request.method == "GET" and value is not None and ByteRange.parse(value) is not None


def _part(request: Request, size: int | None) -> tuple[int, int] | str | None:
    if size is None or not wants_part(request):
        return None
    wanted = ByteRange.parse(request.value("Range") or "")
    return None if wanted is None else wanted.resolve(size) or "unsatisfiable"


def _unsatisfiable(content: Content) -> Answer:
    message = f"the range lies outside of the blob, which has {content.size} bytes"
    refusal = error_answer(416, "RANGE_INVALID", message, want="bytes=FIRST-LAST, FIRST from 0")
    return refusal.adding(("Content-Range", f"bytes */{content.size}"))

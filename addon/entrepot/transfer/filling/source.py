"""Who asks upstream for the bytes of a blob, and what its answers say of themselves."""

from typing import Protocol

from entrepot.http_client.response import Reply
from entrepot.transfer.errors import DownloadError


class Source(Protocol):
    """Asks for a blob as one client; on threads. Raises ``UpstreamError``."""

    def reopen(self, offset: int) -> Reply:
        """The blob from an offset on, and one byte before it, which is compared."""

    def part(self, nearest: Reply | None, start: int, stop: int) -> Reply:
        """The bytes from ``start`` up to ``stop``: from where ``nearest`` came, if that will do."""


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


def end_of(reply: Reply) -> int | None:
    """The offset behind the last byte that ``reply`` sends; None where it does not say."""
    content_range = reply.content_range
    return reply.length if content_range is None else content_range.last + 1

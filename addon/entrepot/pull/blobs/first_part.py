"""What upstream is asked for first where a client wants a part of a blob that is not here."""

from entrepot.http_client.response import Reply
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import Request
from entrepot.protocol.ranges.byte_ranges import ByteRange, RangeSet
from entrepot.transfer.filling.segments import AHEAD, JOINED, READ_THROUGH
from entrepot.transfer.growing_file import GrowingFile
from entrepot.transfer.range_answers import wanted_ranges

Field = tuple[str, str]


def first_part(request: Request, digest: Digest, file: GrowingFile) -> Field | None:
    """The Range of the first bytes that a client waits for and that are not here.

    One byte where all of them are here: for the registry's decision. None where what follows the
    bytes that are here from the beginning is to be asked for, up to the end.
    """
    wanted = wanted_ranges(request, digest)
    if wanted is None or request.value("If-None-Match") is not None:
        return _up_to_what_is_here(file)
    first = wanted.ranges[0]
    if first.first is None:  # upstream alone knows where that begins
        return _field(first)
    if first.last is None:
        return _missing(file, first.first, first.first + AHEAD)
    return _missing(file, first.first, first.last + 1)


def _missing(file: GrowingFile, start: int, stop: int) -> Field:
    """The first gap of what is wanted, with what is read ahead to it if that begins it."""
    with file.changed:
        gap = next(file.covered.gaps(start, stop), None)
        if gap is None:
            return _field(ByteRange(start, start))
        end = max(gap[1], file.covered.gap_end(gap[0], start + JOINED))
    return _field(ByteRange(gap[0], end - 1))


def _up_to_what_is_here(file: GrowingFile) -> Field | None:
    """Of the whole what comes before a long stretch that is here, and need not come again."""
    with file.changed:
        start = file.covered.end_from(0)
        for begin, end in file.covered:
            if begin > start and end - begin >= READ_THROUGH:
                return _field(ByteRange(start, begin - 1))
    return None


def is_beyond(part: Field, file: GrowingFile) -> bool:
    """Whether it begins behind all that is here: a refusal of it says nothing of that."""
    wanted = RangeSet.parse(part[1])
    start = None if wanted is None else wanted.ranges[0].first
    return start is not None and start >= file.covered.end


def _field(part: ByteRange) -> Field:
    return "Range", str(RangeSet((part,)))


def fits_part(reply: Reply, asked: Field) -> bool:
    """Whether a 206 is the part that was asked for, and says of how much."""
    found, wanted = reply.content_range, RangeSet.parse(asked[1])
    if found is None or found.size is None or wanted is None:
        return False
    span = wanted.ranges[0].resolve(found.size)
    return span is not None and span[0] == found.first and found.last < span[1]

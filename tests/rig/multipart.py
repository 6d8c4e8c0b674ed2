"""Reading ``multipart/byteranges`` strictly: every byte of it must be accounted for."""

import re

_TYPE = re.compile(r"multipart/byteranges; boundary=([0-9A-Za-z]{1,70})")
_PLACE = re.compile(rb"\r\nContent-Range: bytes (\d+)-(\d+)/(\d+)(?=\r\n|\Z)")

Part = tuple[int, bytes]
"""Where a part begins in the content, and its bytes."""


def parts_of(content_type: str, body: bytes) -> list[Part]:
    """Every part, in the order in which they came."""
    boundary = _TYPE.fullmatch(content_type)
    assert boundary, content_type
    delimiter, parts, position = b"--" + boundary[1].encode(), list[Part](), 0
    while True:
        before = b"\r\n" + delimiter if parts else delimiter
        assert body.startswith(before, position), body[position : position + 100]
        position += len(before)
        if body[position:] == b"--\r\n":
            return parts
        end = body.index(b"\r\n\r\n", position)
        place = _PLACE.search(body[position:end])
        assert place, body[position:end]
        first, last, _ = map(int, place.groups())
        position = end + 4
        data = body[position : position + last + 1 - first]
        assert len(data) == last + 1 - first
        parts.append((first, data))
        position += len(data)

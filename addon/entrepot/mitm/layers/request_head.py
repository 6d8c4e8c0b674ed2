"""What a request's head may look like: bounded, and the same to every reader.

mitmproxy reads leniently and passes on what it read, so a server behind it could find another
request in the same bytes (RFC 9112 section 11.2). Nothing that real clients send is refused here.
"""

import re
from dataclasses import dataclass

MOST_BYTES = 80 * 1024
"""A field of 64 KiB, as a ``Range`` of a thousand parts may be, and all else besides."""
MOST_FIELDS = 200
_END = re.compile(rb"\n\r?\n")  # where h11's buffer, which mitmproxy uses, sees it
_TLS = b"\x16\x03"  # a handshake, which would wait for an answer (RFC 8446 section 5.1)
_BLANK = re.compile(rb"(?:\r?\n)*")
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Z-]+) ([^\x00-\x20\x7f]+) HTTP/([0-9]\.[0-9])")
# Printable, blanks, and whatever lies above ASCII: all else could end a line for somebody.
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused, and with which status."""

    status: int
    reason: str


def blank_lines(received: bytes) -> int:
    """How many bytes of empty lines come first, which are to be skipped (RFC 9112 section 2.2)."""
    match = _BLANK.match(received)
    return match.end() if match else 0


def refusal(received: bytes) -> Refusal | None:
    """Judge the head that the bytes begin with; None where it is well-formed or not yet whole."""
    if received.startswith(_TLS):
        return Refusal(400, "TLS where plain HTTP is spoken")
    end = _END.search(received)
    if (len(received) if end is None else end.end()) > MOST_BYTES:
        return Refusal(431, f"more than {MOST_BYTES} bytes before the end of the header")
    if end is None:
        return None
    first, *fields = (line.removesuffix(b"\r") for line in received[: end.start()].split(b"\n"))
    if len(fields) > MOST_FIELDS:
        return Refusal(431, f"more than {MOST_FIELDS} header fields")
    line = _LINE.fullmatch(first)
    if line is None:
        return Refusal(400, "malformed request line")
    if line[3] not in (b"1.0", b"1.1"):
        return Refusal(505, "want HTTP/1.1")
    if not all(_FIELD.fullmatch(field) for field in fields):
        return Refusal(400, "malformed header field")
    if sum(field.partition(b":")[0].lower() == b"authorization" for field in fields) > 1:
        return Refusal(400, "more than one Authorization")  # servers differ in which one counts
    return None

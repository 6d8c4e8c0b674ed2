"""How long a server asks to be left alone: ``Retry-After`` (RFC 9110 section 10.2.3)."""

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry


def parse_retry_after(retry_after: str | None) -> float | None:
    """Return the seconds to wait, whether said as such or as a date; None where it says neither."""
    if retry_after is None:
        return None
    try:
        return Retry().parse_retry_after(retry_after)
    except (InvalidHeader, ValueError, OverflowError):
        return None

"""Sizes and durations, as administrators write and read them."""

import re
from decimal import Decimal

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([KMGT]?)(I?B?)", re.IGNORECASE | re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(s|min|m|h|d|)", re.IGNORECASE | re.ASCII)
_MAX_SECONDS = 365 * 86400
_MAX_SIZE = 2**63 - 1  # SQLite's integer, which keeps the limit


def parse_size(text: str) -> int:
    """Read bytes: `50GiB`, `1.5T`, `500MB`, `1048576`.

    KB, MB... count in thousands; KiB, MiB... and a bare K, M... (as in nginx) in 1024s.
    """
    match = _SIZE.fullmatch(text)
    if match and not (match[3].lower().startswith("i") and not match[2]):
        number, unit, suffix = match.groups()
        base = 1000 if suffix.lower() == "b" else 1024
        size = int(Decimal(number) * base ** _UNITS[unit.upper()])
        if 0 < size <= _MAX_SIZE:
            return size
    raise ValueError(f"expected a size such as 50GiB, 1.5T, 500MB or 1048576, got {text!r}")


def size_text(size: int) -> str:
    """Write bytes as one reads them, with one decimal: `39.2GiB`, `38.5MiB`, `512B`.

    In the unit in which the number is from 1 to 1023, so that no size but none reads as 0.0.
    ``parse_size`` reads it, as the nearest tenth.
    """
    number, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1023.95:  # what is more would be written as 1024.0
            break
        number, unit = number / 1024, larger
    return f"{size}B" if unit == "B" else f"{number:.1f}{unit}"


def parse_duration(text: str) -> float:
    """Read seconds: `30d`, `1.5h`, `5min`, `90s`, `300`; at most 365 days."""
    match = _DURATION.fullmatch(text)
    if match:
        seconds = float(match[1]) * _SECONDS[match[2].lower()]
        if 0 < seconds <= _MAX_SECONDS:
            return seconds
    raise ValueError(f"expected a duration such as 30d, 1.5h, 5min, 90s or 300, got {text!r}")


def parse_duration_or_never(text: str) -> float:
    """Read a duration, or `0` for never."""
    return 0.0 if text == "0" else parse_duration(text)

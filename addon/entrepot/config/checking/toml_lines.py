"""Lines of a TOML file at which a key or a table stands, for messages.

The parser of the standard library tells no lines but that of a fault in the syntax. Keys and
headers are found as administrators write them, one a line; what is not found has no line.
"""

import re

_HEADER = re.compile(r"\s*\[")
_FAULT = re.compile(r"\(at line (\d+), column \d+\)")


def line_of_key(text: str, key: str) -> int | None:
    """The line of a key of the file itself, not of a table in it."""
    wanted = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""")
    for number, line in enumerate(text.splitlines(), 1):
        if _HEADER.match(line):
            return None
        if wanted.match(line):
            return number
    return None


def line_of_table(text: str, above: str, key: str) -> int | None:
    """The line of the header ``[above."key"]``."""
    wanted = re.compile(
        rf"""\s*\[\s*["']?{re.escape(above)}["']?\s*\.\s*["']?{re.escape(key)}["']?\s*\]"""
    )
    numbers = (n for n, line in enumerate(text.splitlines(), 1) if wanted.match(line))
    return next(numbers, None)


def line_of_fault(message: str) -> int | None:
    """The line that a message of the parser names."""
    found = _FAULT.search(message)
    return int(found[1]) if found else None

"""Colours of words on a terminal; none where standard output is none, or `NO_COLOR` is set."""

import os
import sys

_CODES = {"plain": "0", "good": "32", "warning": "33", "bad": "1;31", "heading": "1", "faint": "2"}


def styled(text: str, style: str) -> str:
    """The text in a style: plain, good, warning, bad, heading or faint."""
    if not has_colours():
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def has_colours() -> bool:
    """Whether who reads it sees colours (https://no-color.org)."""
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
    )

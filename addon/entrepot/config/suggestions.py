"""Names that an administrator misspelt."""

import difflib
from collections.abc import Collection


def nearest(name: str, known: Collection[str]) -> str:
    """What to say of a name that is not known: the nearest one that is, or all of them."""
    if close := difflib.get_close_matches(name, known, n=1):
        return f"did you mean {close[0]!r}?"
    return f"expected one of {', '.join(known)}"

"""What a row of the table of quirks says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quirk:
    """What somebody does otherwise."""

    who: str
    what: str
    """What they do, and after the colon what is done about it."""
    source: str
    """Where that is said; "seen" is our own observation, "reported" that of others."""
    test: str
    """The function that proves that it is dealt with, anywhere in ``tests/``."""

"""A row of the table of events, and the kinds that there are."""

import logging
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventRow:
    """What there is to know of an event."""

    level: int
    fields: tuple[str, ...]
    """What a line may say, by names of ``fields.EventFields``."""
    meaning: str
    """What happened, in one sentence, for an administrator. Markdown, as ``remedy``."""
    remedy: str
    """What to do, in one sentence; empty where there is nothing."""
    traced: bool = False
    """Whether its line has a traceback."""


def info(fields: str, meaning: str, remedy: str = "") -> EventRow:
    """Give the row of what is ordinary."""
    return EventRow(logging.INFO, tuple(fields.split()), meaning, remedy)


def warning(fields: str, meaning: str, remedy: str) -> EventRow:
    """Give the row of what an administrator should look at."""
    return EventRow(logging.WARNING, tuple(fields.split()), meaning, remedy)


def error(fields: str, meaning: str, remedy: str) -> EventRow:
    """Give the row of a failure of our own code, whose line has a traceback."""
    return EventRow(logging.ERROR, tuple(fields.split()), meaning, remedy, traced=True)

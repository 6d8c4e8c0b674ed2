"""The tables of events and counters in ``docs/operations.md``, as Markdown."""

import logging

from entrepot.events.counters import Counter
from entrepot.events.table import Event


def markdown_table() -> str:
    """Every event: its name, level, fields, meaning and remedy; ends with a newline."""
    rows = (
        (
            f"`{event.label}`",
            logging.getLevelName(event.row.level),
            ", ".join(f"`{name}`" for name in event.row.fields),
            event.row.meaning,
            event.row.remedy,
        )
        for event in sorted(Event, key=lambda event: event.label)
    )
    return _table(("event", "level", "fields", "what it means", "what to do"), *rows)


def counters_table() -> str:
    """Every counter that is no event, and what it counts; ends with a newline."""
    rows = ((f"`{counter.label}`", counter.meaning) for counter in Counter)
    return _table(("counter", "what it counts"), *rows)


def _table(header: tuple[str, ...], *rows: tuple[str, ...]) -> str:
    return "".join(
        f"| {' | '.join(cells)} |\n" for cells in (header, ("---",) * len(header), *rows)
    )

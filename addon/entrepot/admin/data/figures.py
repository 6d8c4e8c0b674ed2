"""Figures of a time: sums for the big numbers, and series for the charts."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from entrepot.admin.data.periods import Window
from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import RecordReader, SumRow
from entrepot.observe.sums import Sum

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """What the records say of a window, in all and for each of its points."""

    window: Window
    total: Sum
    points: tuple[Sum, ...]
    outcomes: dict[Outcome, tuple[int, ...]]
    """Requests of each outcome, at each point."""


def read_figures(records: RecordReader, window: Window) -> Figures:
    """Read the sums of a window. Raises ``RecordsUnreadableError``."""
    return figures(window, records.sums(window.span, window.since, window.until))


def figures(window: Window, rows: Iterable[SumRow]) -> Figures:
    """Add sums up to the points of a window."""
    total, points = Sum(), [Sum() for _ in window.starts()]
    outcomes = {outcome: [0] * len(points) for outcome in Outcome}
    for row in rows:
        at = window.at(row.start)
        if 0 <= at < len(points):
            add(points[at], row.sum)
            add(total, row.sum)
            outcomes[row.outcome][at] += row.sum.requests
    return Figures(
        window, total, tuple(points), {one: tuple(counts) for one, counts in outcomes.items()}
    )


def add(to: Sum, more: Sum) -> None:
    """Add one sum to another."""
    for field in fields(Sum):
        setattr(to, field.name, getattr(to, field.name) + getattr(more, field.name))


def as_series(found: Figures) -> Document:
    """The points for a chart: times in seconds since 1970, sizes in bytes."""
    return {
        "step": found.window.step,
        "since": found.window.since,
        "until": found.window.until,
        "times": list(found.window.starts()),
        "saved": [point.saved for point in found.points],
        "from_upstream": [point.from_upstream for point in found.points],
        "pulls": [point.pulls for point in found.points],
        "outcomes": {one.value: list(counts) for one, counts in found.outcomes.items()},
        "total": as_total(found.total),
    }


def as_total(total: Sum) -> Document:
    """A sum, with what follows from it."""
    members = {field.name: getattr(total, field.name) for field in fields(Sum)}
    return {**members, "saved": total.saved}

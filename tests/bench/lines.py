"""What one line of the table is made of, and what ours has to reach in it."""

from dataclasses import dataclass

from bench.measures import Measure
from bench.peers import NOTHING, Needs


@dataclass(frozen=True, slots=True)
class Target:
    """What our median must reach: of the figure itself, or of its ratio."""

    limit: float
    at_least: bool
    of_ratio: bool

    def reached(self, median: float) -> bool:
        return median >= self.limit if self.at_least else median <= self.limit


def at_least(limit: float, *, of_ratio: bool = False) -> Target:
    return Target(limit, at_least=True, of_ratio=of_ratio)


def at_most(limit: float, *, of_ratio: bool = False) -> Target:
    return Target(limit, at_least=False, of_ratio=of_ratio)


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a figure of what was measured, in `unit`.

    Ratios are to the baseline's, or to the figure `of` of the same peer.
    """

    title: str
    figure: str
    unit: str
    target: Target | None = None
    of: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What is measured at once, for these peers; it fills one or more lines.

    Ratios are to the peer `baseline` in the same round, where there is one.
    """

    name: str
    measure: Measure
    peers: tuple[str, ...]
    rows: tuple[Row, ...]
    baseline: str = ""
    needs: Needs = NOTHING

"""Tallies: counters and histograms by their labels, counted on one thread and read on another.

They are plain numbers; what they are called outside is the business of ``exposition``.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterator
from typing import TypeAlias

from entrepot.metrics.family import Distribution, Family, Kind, LabelValues, Samples

Cell: TypeAlias = list[float]
"""A counter's count alone; a histogram's counts of its buckets, and at the end the sum."""


class FirstNames:
    """Names that are labels: the first so many by themselves, all others as one.

    For what clients can name ever anew. What was first stays until the process ends.
    """

    OTHERS = "others"

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, name: str) -> str:
        """The label of a name; it is known from now on, if there is room."""
        if name in self._known:
            return name
        if len(self._known) >= self._most:
            return self.OTHERS
        self._known.add(name)
        return name


class Tallies:
    """Counts, each from 0; ``lock`` is held by whoever counts."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._cells: dict[Family, dict[LabelValues, Cell]] = {}

    def cell(self, family: Family, *labels: str) -> Cell:
        """Where a child is counted; it is there from now on."""
        cells = self._cells.setdefault(family, {})
        cell = cells.get(labels)
        if cell is None:
            size = len(family.buckets) + 2 if family.kind is Kind.HISTOGRAM else 1
            cell = cells[labels] = [0] * size
        return cell

    def samples(self) -> Iterator[Samples]:
        """All that was counted so far."""
        with self.lock:
            found = [(family, _values(family, cells)) for family, cells in self._cells.items()]
        yield from found


def observe(family: Family, cell: Cell, value: float) -> None:
    """Count a value in a cell of a histogram."""
    cell[bisect_left(family.buckets, value)] += 1
    cell[-1] += value


def _values(
    family: Family, cells: dict[LabelValues, Cell]
) -> list[tuple[LabelValues, float | Distribution]]:
    if family.kind is Kind.HISTOGRAM:
        return [
            (labels, Distribution(tuple(map(int, cell[:-1])), cell[-1]))
            for labels, cell in cells.items()
        ]
    return [(labels, cell[0]) for labels, cell in cells.items()]

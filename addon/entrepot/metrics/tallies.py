"""Tallies: counters and histograms by their labels, counted on one thread and read on another.

They are plain numbers; what they are called outside is the business of ``exposition``.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterator

from entrepot.metrics.family import Distribution, Family, LabelValues, Sample


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
    """Counts, each from 0; ``lock`` is held by whoever counts or reads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._counts: dict[tuple[Family, LabelValues], float] = {}
        self._histograms: dict[tuple[Family, LabelValues], list[float]] = {}
        """The counts of the buckets, and at the end the sum."""

    def add(self, family: Family, labels: LabelValues, by: float = 1) -> None:
        """Count so many more of a counter."""
        key = (family, labels)
        self._counts[key] = self._counts.get(key, 0) + by

    def observe(self, family: Family, labels: LabelValues, value: float) -> None:
        """Count a value in a histogram."""
        key = (family, labels)
        counts = self._histograms.get(key)
        if counts is None:
            counts = self._histograms[key] = [0] * (len(family.buckets) + 2)
        counts[bisect_left(family.buckets, value)] += 1
        counts[-1] += value

    def samples(self) -> Iterator[Sample]:
        """All that was counted so far."""
        with self.lock:
            counts = list(self._counts.items())
            histograms = [
                (key, Distribution(tuple(map(int, counts[:-1])), counts[-1]))
                for key, counts in self._histograms.items()
            ]
        for (family, labels), count in counts:
            yield family, labels, count
        for (family, labels), distribution in histograms:
            yield family, labels, distribution

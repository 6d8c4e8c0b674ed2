"""A family of metrics: what stands in `# HELP` and `# TYPE`, and the values that belong to it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

OPEN_METRICS = "application/openmetrics-text"
"""In ``Accept``, the format that is not the plain one."""


class Kind(Enum):
    """The types of the exposition format that are used here."""

    COUNTER = "counter"
    """Grows from 0 at the start of the process."""
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A metric with all its labels; each is one object, known by itself."""

    name: str
    """As a query names it, with ``_total`` of a counter; without ``_bucket`` of a histogram."""
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """The upper bounds of a histogram, without that of infinity."""


class Distribution(NamedTuple):
    """What a histogram counted: in each bucket by itself, the last without bound, and the sum."""

    counts: tuple[int, ...]
    total: float


Value: TypeAlias = float | Distribution
LabelValues: TypeAlias = tuple[str, ...]
Samples: TypeAlias = tuple[Family, Iterable[tuple[LabelValues, Value]]]
"""Children of a family: the values of the labels of each, in the family's order, and its own."""
Page: TypeAlias = tuple[str, bytes]
"""What is answered to a scrape: its media type, and the text."""

"""The exposition format: samples as text, by prometheus_client.

Of the thousands of lines of a busy proxy few change from one scrape to the next, and writing one
takes the library 6 to 9 µs (measured: 60 to 90 ms for 200 registries and 200 upstreams). So each
line is kept with its value, and only what has another value is written anew: 3 to 6 ms.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from entrepot.metrics.family import (
    OPEN_METRICS,
    Distribution,
    Family,
    Kind,
    LabelValues,
    Page,
    Samples,
    Value,
)

_END = b"# EOF\n"


@dataclass(slots=True)
class _Line:
    """What was last written of one child; a histogram has several lines."""

    value: Value | None = None
    text: bytes = b""


@dataclass(slots=True)
class _Format:
    """One of the two formats, and what was last written in it."""

    encode: Callable[[Collector], bytes]
    media_type: str
    heads: dict[Family, bytes] = field(default_factory=dict)
    lines: dict[Family, dict[LabelValues, _Line]] = field(default_factory=dict)
    """As many as there ever were labels, which are bounded."""


class _One(Collector):
    """Stands for a registry of the library's that has these metrics alone."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class Exposition:
    """Writes the pages; for any thread, one at a time."""

    def __init__(self, families: Sequence[Family]) -> None:
        """``families`` is what there is, in the order of the page."""
        self._families = families
        self._process = ProcessCollector(registry=CollectorRegistry())
        self._lock = threading.Lock()
        self._formats: dict[str, _Format] = {}

    def page(self, samples: Iterable[Samples], accept: str) -> Page:
        """All samples, in the format that ``Accept`` asks for."""
        wanted = OPEN_METRICS if OPEN_METRICS in accept else ""
        with self._lock:
            if wanted not in self._formats:
                self._formats[wanted] = _Format(*choose_encoder(wanted))
            written = self._formats[wanted]
            return written.media_type, b"".join(self._parts(samples, written))

    def _parts(self, samples: Iterable[Samples], written: _Format) -> Iterator[bytes]:
        known = dict(samples)
        for family in self._families:
            if family in known:
                yield from _family(family, known[family], written)
        yield written.encode(_One(*self._process.collect()))  # and the end, where there is one


def _family(
    family: Family, children: Iterable[tuple[LabelValues, Value]], written: _Format
) -> Iterator[bytes]:
    """The text of one family, of which only what changed is written anew."""
    lines = written.lines.setdefault(family, {})
    row: list[_Line] = []
    changed: list[tuple[LabelValues, Value]] = []
    for labels, value in children:
        line = lines.get(labels)
        if line is None:
            line = lines[labels] = _Line()
        if line.value != value:
            changed.append((labels, value))
        row.append(line)
    if not row:
        return
    if changed:
        _write(family, changed, written)
    yield written.heads[family]
    yield from [line.text for line in row]


def _write(family: Family, changed: Sequence[tuple[LabelValues, Value]], written: _Format) -> None:
    text = written.encode(_One(_metric(family, changed))).removesuffix(_END)
    texts = [line + b"\n" for line in text.split(b"\n")[:-1]]  # a label may have other ends in it
    head = [line for line in texts if line.startswith(b"#")]
    written.heads[family] = b"".join(head)
    step = len(family.buckets) + 3 if family.kind is Kind.HISTOGRAM else 1
    for number, (labels, value) in enumerate(changed):
        line, start = written.lines[family][labels], len(head) + number * step
        line.value, line.text = value, b"".join(texts[start : start + step])


def _metric(family: Family, children: Iterable[tuple[LabelValues, Value]]) -> Metric:
    """What the library calls a family, with these children."""
    name, text, labels = family.name, family.meaning, family.labels
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, text, labels=labels)
        bounds = [*map(floatToGoString, family.buckets), "+Inf"]
        for values, value in children:
            assert isinstance(value, Distribution)  # noqa: S101 for the type
            counts = list(zip(bounds, accumulate(value.counts), strict=True))
            histogram.add_metric(values, counts, value.total)
        return histogram
    kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = kind(name, text, labels=labels)
    for values, value in children:
        assert isinstance(value, int | float)  # noqa: S101 for the type
        metric.add_metric(values, value)
    return metric

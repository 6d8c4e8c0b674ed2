"""What a process costs over time: sampled from /proc and its folder, judged, and drawn as SVG."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

from rig.images import MIB
from rig.proxy import Entrepot

LIMIT = 256 * MIB
"""The size limit of the proxy that is watched: it fills that far, and no further."""

_WIDTH, _PANEL, _LEFT, _PLOT = 760, 128, 64, 84
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #444c56 }
.title { font-weight: 600; fill: #1f2328 }
.axis { stroke: #8c959f; fill: none }
.grid { stroke: #d0d7de; stroke-dasharray: 2 4 }
.curve { stroke: #0969da; stroke-width: 1.5; fill: none }
.bound { stroke: #bc4c00; stroke-dasharray: 6 4 }
.page { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #b1bac4 } .title { fill: #f0f6fc } .axis { stroke: #6e7681 }
  .grid { stroke: #30363d } .curve { stroke: #58a6ff } .bound { stroke: #f0883e }
  .page { fill: #0d1117 }
}
"""


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that must not grow: its unit, how far it may move, and where it must stay below."""

    title: str
    slack: float
    bound: float | None = None


QUANTITIES: Mapping[str, Quantity] = {
    "rss": Quantity("resident memory, MiB", 16, 150),
    "files": Quantity("open descriptors", 40),
    "threads": Quantity("threads", 24),
    "partials": Quantity("unfinished downloads", 16),
    "folder": Quantity("objects and what is unfinished, MiB", LIMIT / MIB, LIMIT * 9 / 8 / MIB),
    "logs": Quantity("write-ahead logs of both databases, MiB", 8, 16),
}
Sample = tuple[float, Mapping[str, float]]
"""Seconds since the start, and each quantity then."""


def sample(entrepot: Entrepot) -> dict[str, float]:
    """Each quantity now."""
    process = Path(f"/proc/{entrepot.pid}")
    data = entrepot.data
    # In this order, a file that is just being committed is missed rather than counted twice.
    objects = sum(_sizes(data.glob("blobs/??/??/*.val")))
    partials = list(_sizes((data / "partial").iterdir()))
    return {
        "rss": entrepot.rss() / MIB,
        "files": len(list((process / "fd").iterdir())),
        "threads": len(list((process / "task").iterdir())),
        "partials": len(partials),
        "folder": (objects + sum(partials)) / MIB,
        "logs": sum(_sizes(data.glob("*/cache.db-wal"))) / MIB,
    }


def watch(entrepot: Entrepot, seconds: float, step: float = 1.0) -> Iterator[Sample]:
    """A sample about every ``step`` seconds."""
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        yield now, sample(entrepot)
        time.sleep(step)


def grown(samples: Sequence[Sample]) -> list[str]:
    """What is not flat: the last quarter's median against the second's, and every bound."""
    quarter = len(samples) // 4
    complaints = []
    for name, quantity in QUANTITIES.items():
        values = [values[name] for _, values in samples]
        early, late = median(values[quarter : 2 * quarter]), median(values[-quarter:])
        if late > early * 1.1 + quantity.slack:
            complaints.append(
                f"{quantity.title}: {early:.1f} in the second quarter, {late:.1f} in the last"
            )
        if quantity.bound is not None and max(values) > quantity.bound:
            complaints.append(f"{quantity.title}: {max(values):.1f}, want {quantity.bound} at most")
    return complaints


def draw(samples: Sequence[Sample], caption: str) -> str:
    """The curves as one SVG, a panel for each quantity below another."""
    height = 40 + _PANEL * len(QUANTITIES)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" role="img">',
        f"<title>{escape(caption)}</title><style>{_STYLE}</style>",
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
        f'<text x="{_LEFT}" y="22">{escape(caption)}</text>',
    ]
    for number, (name, quantity) in enumerate(QUANTITIES.items()):
        points = [(at, values[name]) for at, values in samples]
        parts += _panel(40 + number * _PANEL, quantity, points)
    return "\n".join([*parts, "</svg>", ""])


def _panel(top: int, quantity: Quantity, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    end = max(at for at, _ in points)
    most = _round_up(max(*(value for _, value in points), quantity.bound or 0))
    right, base = _WIDTH - 16, top + 16 + _PLOT

    def x(at: float) -> float:
        return _LEFT + at / end * (right - _LEFT)

    def y(value: float) -> float:
        return base - value / most * _PLOT

    yield f'<text class="title" x="{_LEFT}" y="{top + 10}">{escape(quantity.title)}</text>'
    for value in (most / 2, most):
        yield f'<path class="grid" d="M{_LEFT} {y(value):.1f}H{right}"/>'
    for value in (0, most / 2, most):
        yield f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
    for tick in range(6):
        at = end * tick / 5
        anchor = "end" if tick == 5 else "middle"
        label = f"{at / 60:.3g} min" if tick == 5 else f"{at / 60:.3g}"
        yield f'<text x="{x(at):.1f}" y="{base + 13}" text-anchor="{anchor}">{label}</text>'
    yield f'<path class="axis" d="M{_LEFT} {top + 16}V{base}H{right}"/>'
    if quantity.bound is not None:
        yield f'<path class="bound" d="M{_LEFT} {y(quantity.bound):.1f}H{right}"/>'
        label = f"bound {quantity.bound:g}"
        yield f'<text x="{right}" y="{top + 10}" text-anchor="end">{label}</text>'
    line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
    yield f'<polyline class="curve" points="{line}"/>'


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5 or 10 times a power of ten."""
    power = 1.0
    while power * 10 < value:
        power *= 10
    return next(power * step for step in (1, 2, 4, 5, 10) if power * step >= value)


def _sizes(paths: Iterator[Path]) -> Iterator[int]:
    for path in paths:
        try:
            yield path.stat().st_size
        except FileNotFoundError:  # it was committed or evicted meanwhile
            continue

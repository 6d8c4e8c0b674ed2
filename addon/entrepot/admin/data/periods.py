"""Periods to look at, and how finely: which sums make one point of a chart."""

from collections.abc import Iterator
from dataclasses import dataclass

from entrepot.observe.sums import SECONDS, Span

_HOUR, _DAY = 3600, 86400
_MOST_POINTS = 180
_STEPS = (60, 300, 900, _HOUR, 3 * _HOUR, 6 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY, 28 * _DAY)
_KEPT = ((_HOUR, 2 * _DAY), (_DAY, 100 * _DAY))
"""How long sums below a step are kept (``observe.sums``)."""
_LONGEST = 20 * 366 * _DAY


@dataclass(frozen=True, slots=True)
class Period:
    """A choice of how far to look back."""

    key: str
    label: str
    phrase: str
    """As in "saved in the last hour"."""
    seconds: int


PERIODS = (
    Period("hour", "1 h", "in the last hour", _HOUR),
    Period("day", "24 h", "in the last 24 hours", _DAY),
    Period("week", "7 d", "in the last 7 days", 7 * _DAY),
    Period("month", "30 d", "in the last 30 days", 30 * _DAY),
    Period("year", "1 y", "in the last year", 365 * _DAY),
)
DEFAULT = PERIODS[1]


def period_of(key: str | None) -> Period:
    """The period of that name, or the ordinary one."""
    return next((one for one in PERIODS if one.key == key), DEFAULT)


@dataclass(frozen=True, slots=True)
class Window:
    """A time, in points of ``step`` seconds each, that begin at multiples of it."""

    span: Span
    step: int
    since: int
    until: int

    @classmethod
    def make(cls, since: float, until: float, now: float) -> "Window":
        """As fine as there are sums for, and not finer than a chart can show."""
        until = min(until, now + 60)
        since = max(min(since, until - 60), until - _LONGEST)
        coarse = [step for step, kept in _KEPT if since < now - kept]
        least = max([_STEPS[0], *coarse])
        fitting = (s for s in _STEPS if s >= least and (until - since) / s <= _MOST_POINTS)
        step = next(fitting, _STEPS[-1])
        span: Span = "minute" if step < _HOUR else "hour" if step < _DAY else "day"
        begin = int(since // step) * step
        return cls(span, step, begin, max(begin + step, int(until)))

    def starts(self) -> Iterator[int]:
        """When each point begins."""
        return iter(range(self.since, self.until, self.step))

    def at(self, start: int) -> int:
        """Which point a sum belongs to."""
        return (start - self.since) // self.step

    @property
    def is_exact(self) -> bool:
        """Whether a point is one sum."""
        return self.step == SECONDS[self.span]

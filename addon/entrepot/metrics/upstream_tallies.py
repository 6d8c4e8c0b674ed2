"""Tallies of upstream hosts: their answers as they come, and how each does now.

The first 200 hosts have labels of their own, until the process ends; the counts of others are
``others``, and how single ones of them do is not told.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from entrepot.metrics import upstream_families as families
from entrepot.metrics.family import Family, Samples
from entrepot.metrics.request_tallies import code
from entrepot.metrics.tallies import FirstNames, Tallies, observe
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.host_outcomes import MOST_HOSTS
from entrepot.upstream.rate_limits import RateLimit

OTHERS = (FirstNames.OTHERS,)
STATES = ("ok", "limited", "failing", "slow", "down", "resting")


@dataclass(frozen=True, slots=True)
class UpstreamsNow:
    """How the hosts do that were asked lately."""

    asked: Mapping[Origin, tuple[str, float]]
    """The state of each, and when it was last asked."""
    breakers: Mapping[Origin, str]
    """Of those whose breaker is not closed."""
    limits: Mapping[Origin, RateLimit]


class UpstreamTallies:
    """Counts what upstream hosts answer; an ``Observer``, for any thread."""

    def __init__(self) -> None:
        self._names = FirstNames(MOST_HOSTS)
        self._tallies = Tallies()

    def answered(self, origin: Origin, status: int, seconds: float) -> None:
        """Count an answer."""
        with self._tallies.lock:
            upstream = self._names.label(str(origin))
            self._tallies.cell(families.ANSWERS, upstream, code(status))[0] += 1
            observe(families.FIRST_BYTE, self._tallies.cell(families.FIRST_BYTE, upstream), seconds)

    def failed(self, origin: Origin, reason: str) -> None:  # noqa: ARG002 unbounded, so no label
        """Count that there was no answer, or no whole one."""
        with self._tallies.lock:
            self._tallies.cell(families.FAILURES, self._names.label(str(origin)))[0] += 1

    def samples(self, now: UpstreamsNow) -> Iterator[Samples]:
        """All that was counted, and how the hosts do."""
        yield from self._tallies.samples()
        asked, breakers = now.asked, now.breakers
        states = {origin: breakers.get(origin) or state for origin, (state, _) in asked.items()}
        counts = Counter({**breakers, **states}.values())
        yield families.HOSTS, [((state,), counts[state]) for state in STATES]
        labels = self._labels({**asked, **breakers, **now.limits})
        known = [(labels[origin], states[origin] == "ok", asked[origin][1]) for origin in states]
        known = [one for one in known if one[0] != OTHERS]
        yield families.UP, [(label, is_ok) for label, is_ok, _ in known]
        yield families.ASKED_AT, [(label, round(at, 3)) for label, _, at in known]
        away = {labels[origin] for origin in breakers}
        yield families.BREAKER_OPEN, [(label, label in away) for label, _, _ in known]
        limits = [(labels[origin], limit) for origin, limit in now.limits.items()]
        limits = [one for one in limits if one[0] != OTHERS]
        for family, figure in _FIGURES:
            found = [(label, figure(limit)) for label, limit in limits]
            yield family, [(label, value) for label, value in found if value is not None]

    def _labels(self, origins: Iterable[Origin]) -> dict[Origin, tuple[str]]:
        with self._tallies.lock:
            return {origin: (self._names.label(str(origin)),) for origin in origins}


_FIGURES: tuple[tuple[Family, Callable[[RateLimit], float | None]], ...] = (
    (families.LIMIT, attrgetter("limit")),
    (families.REMAINING, attrgetter("remaining")),
    (families.WINDOW, attrgetter("window")),
    (families.SAID_AT, attrgetter("at")),
)

"""Tallies of upstream hosts: their answers as they come, and how each does now.

The first 200 hosts have labels of their own, until the process ends; the counts of others are
``others``, and how single ones of them do is not told.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter

from entrepot.metrics import upstream_families as families
from entrepot.metrics.family import Family, Samples
from entrepot.metrics.request_tallies import code
from entrepot.metrics.tallies import FirstNames, Tallies, observe
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.host_outcomes import MOST_HOSTS, UpstreamState
from entrepot.upstream.rate_limits import RateLimit

STATES = ("ok", "limited", "failing", "slow", "down", "resting")


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

    def samples(self, hosts: Mapping[Origin, UpstreamState]) -> Iterator[Samples]:
        """All that was counted, and how these hosts do."""
        yield from self._tallies.samples()
        states = Counter(host.state for host in hosts.values())
        yield families.HOSTS, [((state,), states[state]) for state in STATES]
        known = self._labelled(hosts)
        yield families.UP, [((name,), host.is_ok) for name, host in known]
        asked = [(name, host.last_asked) for name, host in known]
        yield families.ASKED_AT, [((name,), at) for name, at in asked if at is not None]
        yield families.BREAKER_OPEN, [((name,), host.breaker != "closed") for name, host in known]
        limits = [(name, host.ratelimit) for name, host in known if host.ratelimit is not None]
        for family, figure in _FIGURES:
            found = [(name, figure(limit)) for name, limit in limits]
            yield family, [((name,), value) for name, value in found if value is not None]

    def _labelled(self, hosts: Mapping[Origin, UpstreamState]) -> list[tuple[str, UpstreamState]]:
        with self._tallies.lock:
            labels = [(self._names.label(str(origin)), host) for origin, host in hosts.items()]
        return [(label, host) for label, host in labels if label != FirstNames.OTHERS]


_FIGURES: tuple[tuple[Family, Callable[[RateLimit], float | None]], ...] = (
    (families.LIMIT, attrgetter("limit")),
    (families.REMAINING, attrgetter("remaining")),
    (families.WINDOW, attrgetter("window")),
    (families.SAID_AT, attrgetter("at")),
)

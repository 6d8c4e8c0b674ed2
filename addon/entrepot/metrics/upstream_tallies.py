"""Tallies of upstream hosts: their answers as they come, and how each does now.

The first 200 hosts have labels of their own, until the process ends; the counts of others are
``others``, and how single ones of them do is not told.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from entrepot.metrics import upstream_families as families
from entrepot.metrics.family import Sample
from entrepot.metrics.request_tallies import code
from entrepot.metrics.tallies import FirstNames, Tallies
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.host_outcomes import MOST_HOSTS, UpstreamState

BREAKER_STATES = ("closed", "slow", "down", "resting")
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
            self._tallies.add(families.ANSWERS, (upstream, code(status)))
            self._tallies.observe(families.FIRST_BYTE, (upstream,), seconds)

    def failed(self, origin: Origin, reason: str) -> None:  # noqa: ARG002 unbounded, so no label
        """Count that there was no answer, or no whole one."""
        with self._tallies.lock:
            self._tallies.add(families.FAILURES, (self._names.label(str(origin)),))

    def samples(self, hosts: Mapping[Origin, UpstreamState]) -> Iterator[Sample]:
        """All that was counted, and how these hosts do."""
        yield from self._tallies.samples()
        states = Counter(host.state for host in hosts.values())
        for state in STATES:
            yield families.HOSTS, (state,), states[state]
        for origin, host in hosts.items():
            with self._tallies.lock:
                upstream = self._names.label(str(origin))
            if upstream != FirstNames.OTHERS:
                yield from _samples(upstream, host)


def _samples(upstream: str, host: UpstreamState) -> Iterator[Sample]:
    yield families.UP, (upstream,), host.is_ok
    for state in BREAKER_STATES:
        yield families.BREAKER, (upstream, state), host.breaker == state
    limit = host.ratelimit
    if limit is None:
        return
    figures = (
        (families.LIMIT, limit.limit),
        (families.REMAINING, limit.remaining),
        (families.WINDOW, limit.window),
        (families.SAID_AT, limit.at),
    )
    for family, figure in figures:
        if figure is not None:
            yield family, (upstream,), figure

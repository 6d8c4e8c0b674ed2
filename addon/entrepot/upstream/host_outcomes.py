"""Outcomes of requests by upstream host: how each host does, from the first failed request on.

For monitors (``endpoints.health.healthz``); nothing is decided by it, so it knows more than the
circuit breaker: every status and every reason, of redirects' targets and token servers too. A host
is *ok* while its last answer was fit, *limited* where that was a 429, *failing* where it was
another failure (``statuses.is_failure``), broke off, or did not come. The next fit answer makes it
ok.
"""

import statistics
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from entrepot.bounded_map import BoundedMap
from entrepot.http_client.request import Observer
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.statuses import is_failure
from entrepot.upstream.rate_limits import RateLimit

MOST_HOSTS = 200
_LATENCIES = 15
_LONGEST_REASON = 200

State = Literal["ok", "limited", "failing"]


@dataclass(frozen=True, slots=True)
class LastFailure:
    """When a host last failed, by the time of day, and how, without a word of a URL."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class FirstByte:
    """Milliseconds from a request's begin to its answer's head: of the last, and the median."""

    last: float
    median: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one host does; times are of the day, None where it never happened."""

    state: State = "ok"
    failures_in_a_row: int = 0
    last_asked: float | None = None
    last_status: int | None = None
    last_success: float | None = None
    last_failure: LastFailure | None = None
    first_byte_ms: FirstByte | None = None


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """All that is known of a host: an :class:`Outcome`, its breaker, and its rate limit."""

    state: str
    """The breaker's, unless that is closed; else the outcome's."""
    breaker: str
    """``closed``, ``slow``, ``down`` or ``resting`` (``circuit_breaker``)."""
    failures_in_a_row: int
    last_asked: float | None
    last_status: int | None
    last_success: float | None
    last_failure: LastFailure | None
    first_byte_ms: FirstByte | None
    ratelimit: RateLimit | None

    @property
    def is_ok(self) -> bool:
        """Whether there is nothing to say of it."""
        return self.state == "ok"


@dataclass(slots=True)
class _Host:
    asked: float = 0.0
    status: int | None = None
    succeeded: float | None = None
    failure: LastFailure | None = None
    failures: int = 0
    is_limited: bool = False
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))

    def answered(self, status: int, seconds: float, at: float) -> None:
        self.status = status
        self.seconds.append(seconds)
        if is_failure(status):
            self.failed(f"it answered {status}", at)
            self.is_limited = status == 429
        else:
            self.asked = self.succeeded = at
            self.failures, self.is_limited = 0, False

    def failed(self, reason: str, at: float) -> None:
        self.asked = at
        self.failures += 1
        self.is_limited = False
        self.failure = LastFailure(round(at, 3), reason[:_LONGEST_REASON])

    @property
    def state(self) -> State:
        return "limited" if self.is_limited else "failing" if self.failures else "ok"

    def outcome(self) -> Outcome:
        return Outcome(
            self.state,
            self.failures,
            round(self.asked, 3),
            self.status,
            None if self.succeeded is None else round(self.succeeded, 3),
            self.failure,
            _first_byte(self.seconds),
        )


class HostOutcomes:
    """What came of the requests to each host, of those asked last; for any thread."""

    def __init__(self, wall: Callable[[], float]) -> None:
        """``wall`` is the time of day."""
        self.also: Observer | None = None
        """Who hears of the same."""
        self._wall = wall
        self._lock = threading.Lock()
        self._hosts: BoundedMap[Origin, _Host] = BoundedMap(MOST_HOSTS)

    def answered(self, origin: Origin, status: int, seconds: float) -> None:
        """Take in an answer's head, that came so many seconds after the request was begun."""
        at = self._wall()
        with self._lock:
            self._of(origin).answered(status, seconds, at)
        if self.also is not None:
            self.also.answered(origin, status, seconds)

    def failed(self, origin: Origin, reason: str) -> None:
        """Take in that there was no answer, or no whole one."""
        at = self._wall()
        with self._lock:
            self._of(origin).failed(reason, at)
        if self.also is not None:
            self.also.failed(origin, reason)

    def known(self) -> dict[Origin, Outcome]:
        """How each host does, the one last asked at the end."""
        with self._lock:
            return {origin: host.outcome() for origin, host in self._hosts.items()}

    def states(self) -> dict[Origin, tuple[State, float]]:
        """The state of each host, and when it was last asked, by the time of day."""
        with self._lock:
            return {origin: (host.state, host.asked) for origin, host in self._hosts.items()}

    def _of(self, origin: Origin) -> _Host:
        host = self._hosts.get(origin)
        if host is None:
            self._hosts.put(origin, host := _Host())
        else:
            self._hosts.use(origin)
        return host


def upstream_states(
    outcomes: Mapping[Origin, Outcome],
    breakers: Mapping[Origin, str],
    limits: Mapping[Origin, RateLimit],
) -> dict[Origin, UpstreamState]:
    """What is known of each host: those in trouble first, by name; 200 at most.

    ``breakers`` has the hosts whose breaker is not closed (``circuit_breaker``).
    """
    known = {
        origin: _joined(outcomes.get(origin), breakers.get(origin), limits.get(origin))
        for origin in {**outcomes, **breakers, **limits}
    }
    in_order = sorted(known.items(), key=lambda item: (item[1].is_ok, item[0]))
    return dict(in_order[:MOST_HOSTS])


def _joined(found: Outcome | None, breaker: str | None, limit: RateLimit | None) -> UpstreamState:
    outcome = found or Outcome()
    return UpstreamState(
        breaker or outcome.state,
        breaker or "closed",
        outcome.failures_in_a_row,
        outcome.last_asked,
        outcome.last_status,
        outcome.last_success,
        outcome.last_failure,
        outcome.first_byte_ms,
        limit,
    )


def _first_byte(seconds: deque[float]) -> FirstByte | None:
    if not seconds:
        return None
    return FirstByte(round(1000 * seconds[-1], 1), round(1000 * statistics.median(seconds), 1))

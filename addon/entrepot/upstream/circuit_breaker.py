"""Which upstream hosts do not answer, and when to try them again. Pure: times come in.

- A host to which three connections in 30 s could not be made is *down*: nobody waits for it.
- One that let a deadline pass is *slow*: who can be answered without it is, the others ask.
- Down or slow, one try is made every ten seconds; whatever the host answers then ends it.
- One that answered 429 with ``Retry-After`` *rests* until then: it is asked only for what cannot
  be had without it.

Only connections that could not be made count towards *down*: a request that makes a registry
stumble must not take it away from everybody else.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from entrepot.bounded_map import BoundedMap
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.quirks import HUB_WINDOW_SECONDS

FAILURES = 3
WITHIN_SECONDS = 30.0
TRIAL_SECONDS = 10.0
LONGEST_REST_SECONDS = HUB_WINDOW_SECONDS
"""No ``Retry-After`` counts for longer."""
_MOST_HOSTS = 1000


class Attempt(Enum):
    """Whether to ask a host now: the breaker is closed, open, or open and due for a trial."""

    NOW = auto()
    NOT = auto()
    BEHIND = auto()
    """Answer without it; it is time for a try, for which no client should wait."""


@dataclass(slots=True)
class _Host:
    failures: list[float] = field(default_factory=list)
    """When connections could not be made, the last few."""
    is_down: bool = False
    is_slow: bool = False
    tried: float = float("-inf")
    rests_until: float = float("-inf")


class Breakers:
    """What is known of each host. Times are seconds of one clock that never jumps."""

    def __init__(self) -> None:
        self._hosts: BoundedMap[Origin, _Host] = BoundedMap(_MOST_HOSTS)

    def ask(self, origin: Origin, now: float, *, fallback: bool) -> Attempt:
        """Whether to ask; ``fallback`` says that there is an answer without it.

        A try that is due is the caller's from then on.
        """
        host = self._hosts.get(origin)
        if host is None:
            return Attempt.NOW
        if host.is_down or (host.is_slow and fallback):
            if now < host.tried + TRIAL_SECONDS:
                return Attempt.NOT
            host.tried = now
            return Attempt.BEHIND if fallback else Attempt.NOW
        return Attempt.NOT if fallback and now < host.rests_until else Attempt.NOW

    def failed(self, origin: Origin, now: float, *, connected: bool, slow: bool) -> bool:
        """Take in that a host gave no answer; whether that changes how it is treated.

        ``connected``: it was reached; ``slow``: it took a deadline to know.
        """
        host = self._hosts.get(origin) or _Host()
        self._hosts.put(origin, host)
        before = (host.is_down, host.is_slow)
        if not connected:
            recent = [at for at in host.failures if at > now - WITHIN_SECONDS]
            host.failures = [*recent, now][-FAILURES:]
            host.is_down |= len(host.failures) == FAILURES
        host.is_slow |= slow
        host.tried = now
        return before != (host.is_down, host.is_slow)

    def answered(self, origin: Origin) -> bool:
        """Take in an answer, whatever it was; whether it comes after a failure that counted."""
        host = self._hosts.get(origin)
        if host is None:
            return False
        was_away = host.is_down or host.is_slow
        self._hosts.put(origin, _Host(rests_until=host.rests_until), renew=False)
        return was_away

    def rest(self, origin: Origin, until: float, now: float) -> None:
        """Leave a host alone until then, for what can be had without it."""
        host = self._hosts.get(origin) or _Host()
        host.rests_until = min(until, now + LONGEST_REST_SECONDS)
        self._hosts.put(origin, host, renew=False)

    def is_away(self, origin: Origin) -> bool:
        """Whether a host is down or slow."""
        host = self._hosts.get(origin)
        return host is not None and (host.is_down or host.is_slow)

    def states(self, now: float) -> dict[Origin, str]:
        """Every host that is not simply up: ``down``, ``slow`` or ``resting``."""
        states = {}
        for origin, host in self._hosts.items():
            resting = "resting" if now < host.rests_until else ""
            state = "down" if host.is_down else "slow" if host.is_slow else resting
            if state:
                states[origin] = state
        return states

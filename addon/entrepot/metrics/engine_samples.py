"""What the engine is doing now, as samples, from values that were taken on the event loop."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from platform import python_version

from entrepot.endpoints.health.readiness import Phase
from entrepot.events.table import Event
from entrepot.metrics import engine_families as families
from entrepot.metrics.family import Samples
from entrepot.storage.capacity.size_limit import Usage
from entrepot.storage.errors import StoreTrouble

PROBLEMS = tuple(
    member.name.lower() for kind in (Phase, StoreTrouble) for member in kind if member.value
)
"""The codes of what keeps a proxy from being ready."""


@dataclass(frozen=True, slots=True)
class Build:
    """What runs, and what is true of it until it ends."""

    version: str
    mitmproxy: str
    limit: int
    """Bytes."""

    def samples(self) -> Iterator[Samples]:
        """These values."""
        yield families.BUILD, [((self.version, self.mitmproxy, python_version()), 1)]
        yield families.LIMIT, [((), self.limit)]


@dataclass(frozen=True, slots=True)
class Clients:
    """How many clients do not trust the authority, or may not trust its successor."""

    untrusting: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine at one moment."""

    problems: frozenset[str]
    downloads: int
    waiters: int
    calls: int
    waiting_calls: int
    authority_expiry: float
    """In seconds since 1970."""
    clients: Clients
    usage: Usage | None
    """None where the store does not say."""

    def samples(self) -> Iterator[Samples]:
        """These values."""
        yield families.READY, [((), not self.problems)]
        yield families.PROBLEM, [((code,), code in self.problems) for code in PROBLEMS]
        yield families.DOWNLOADS, [((), self.downloads)]
        yield families.WAITERS, [((), self.waiters)]
        yield families.CALLS, [((), self.calls)]
        yield families.WAITING_CALLS, [((), self.waiting_calls)]
        yield families.AUTHORITY_EXPIRY, [((), self.authority_expiry)]
        yield families.AUTHORITY_WAITING, [((), self.clients.waiting)]
        yield families.UNTRUSTING, [((), self.clients.untrusting)]
        if self.usage is not None:
            yield families.OBJECTS, [((), self.usage.objects)]
            yield families.STORED, [((), self.usage.held)]
            yield families.UNFINISHED, [((), self.usage.unfinished)]
            yield families.DISK_FREE, [((), self.usage.free)]
            yield families.DISK_RESERVE, [((), self.usage.reserve)]


def of_events(counts: Mapping[str, int]) -> Iterator[Samples]:
    """What was counted by name, also what never happened."""
    for family, children in families.COUNTERS.items():
        yield family, [(labels, counts.get(counter.label, 0)) for labels, counter in children]
    yield families.EVENTS, [((event.label,), counts.get(event.label, 0)) for event in Event]

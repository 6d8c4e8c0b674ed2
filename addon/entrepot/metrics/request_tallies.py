"""Tallies of requests: each record, folded into counters on the recorder's thread.

Nothing is counted on the event loop, and no label says who asked.
"""

from collections.abc import Iterator, Sequence

from entrepot.metrics import request_families as families
from entrepot.metrics.family import Sample
from entrepot.metrics.tallies import FirstNames, Tallies
from entrepot.observe.outcome import Outcome, understood
from entrepot.observe.request_record import RequestRecord

MOST_REGISTRIES = 200
NO_REGISTRY = "none"
"""Of a request at a mirror that names no registry."""

_REASONS = frozenset(
    (
        *("revalidated", "stale", "unconfirmed", "offline", "ping", "account", "catalog", "tags"),
        *("unstored", "token", "referrers", "upload", "blob", "manifest", "other"),
    )
)
"""What may stand in ``detail``."""
_CODES = frozenset(
    (
        *(200, 201, 202, 206, 301, 302, 304, 307, 308),
        *(400, 401, 403, 404, 405, 416, 421, 429, 500, 502, 503, 504),
    )
)


class RequestTallies:
    """Counts records; see ``Writer``."""

    def __init__(self) -> None:
        self._names = FirstNames(MOST_REGISTRIES)
        self._tallies = Tallies()
        for family in families.FAMILIES[-5:]:
            for type_ in ("blob", "manifest"):
                self._tallies.add(family, (type_,), 0)
        for result in ("saved", "spent"):
            self._tallies.add(families.HUB_PULLS, (result,), 0)

    def write(self, records: Sequence[RequestRecord]) -> None:
        """Count some."""
        with self._tallies.lock:
            for record in records:
                self._count(record)

    def _count(self, record: RequestRecord) -> None:
        add, outcome = self._tallies.add, record.outcome.value
        registry = (self._names.label(record.registry or NO_REGISTRY),)
        add(families.REQUESTS, (registry[0], record.kind, outcome))
        add(families.ANSWERS, (outcome, reason(record), code(record.status)))
        add(families.ROADS, (record.road.value,))
        if record.is_content:
            add(families.CONTENT, registry)
            add(families.HITS, registry, record.is_hit)
            if record.method == "GET":
                self._count_as_distribution(record)
        for source, size in _sent(record):
            add(families.SENT, (registry[0], source), size)
        add(families.RECEIVED, registry, record.from_upstream)
        seconds = record.first_byte_ms / 1000
        self._tallies.observe(families.FIRST_BYTE, (record.kind, outcome), seconds)
        if record.is_hub_pull and record.outcome is not Outcome.ERROR:
            add(families.HUB_PULLS, ("saved" if record.is_hit else "spent",))

    def _count_as_distribution(self, record: RequestRecord) -> None:
        """Count as distribution's proxymetrics.go does: HEAD is none, a request hits or misses."""
        type_ = ("blob" if record.kind == "blob" else "manifest",)
        self._tallies.add(families.PROXY_REQUESTS, type_)
        counted = families.PROXY_HITS if record.is_hit else families.PROXY_MISSES
        self._tallies.add(counted, type_)
        self._tallies.add(families.PROXY_PULLED, type_, record.from_upstream)
        self._tallies.add(families.PROXY_PUSHED, type_, record.sent)

    def samples(self) -> Iterator[Sample]:
        """All that was counted so far; for any thread."""
        return self._tallies.samples()

    def upkeep(self) -> bool:
        """Nothing is ever due."""
        return False

    def close(self) -> None:
        """Nothing is held."""


def _sent(record: RequestRecord) -> Iterator[tuple[str, int]]:
    """What a client was sent, by where it was."""
    disk = min(record.sent, record.from_disk)
    upstream = min(record.sent - disk, record.from_upstream)
    for source, size in (
        ("disk", disk),
        ("upstream", upstream),
        ("memory", record.sent - disk - upstream),
    ):
        if size:
            yield source, size


def reason(record: RequestRecord) -> str:
    """Why a request was answered so, in one of a few words."""
    answer = understood(record.answered)
    match record.outcome:
        case Outcome.TUNNEL | Outcome.COLLAPSED:
            return record.outcome.value
        case Outcome.ERROR:
            return "refused" if record.status < 500 else "failed"
        case Outcome.MISS if answer.fwd_status:
            return "answered"
    if answer.detail in _REASONS:
        return answer.detail
    if answer.detail:
        return "other"
    return {Outcome.HIT: "held", Outcome.MISS: "fetched"}.get(record.outcome, "other")


def code(status: int) -> str:
    """The label of a status: itself where it is one that is common, else its class."""
    if status in _CODES:
        return str(status)
    if status == 0:
        return "none"
    return f"{status // 100}xx" if 100 <= status < 600 else "other"

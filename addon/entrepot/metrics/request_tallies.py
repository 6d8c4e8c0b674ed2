"""Tallies of requests: each record, folded into counters on the recorder's thread.

Nothing is counted on the event loop, and no label says who asked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from entrepot.metrics import request_families as families
from entrepot.metrics.family import Samples
from entrepot.metrics.tallies import Cell, FirstNames, Tallies, observe
from entrepot.observe.outcome import Outcome, understood
from entrepot.observe.request_record import RequestRecord

MOST_REGISTRIES = 200
NO_REGISTRY = "none"
"""Of a request at a mirror that names no registry."""
_MOST_ALIKE = 5000

_REASONS = frozenset(
    (
        *("revalidated", "stale", "unconfirmed", "offline", "ping", "account", "catalog", "tags"),
        *("unstored", "address", "range", "token", "referrers", "upload", "blob", "manifest"),
        "other",
    )
)
"""What may stand in ``detail``."""
_CODES = frozenset(
    (
        *(200, 201, 202, 206, 301, 302, 304, 307, 308),
        *(400, 401, 403, 404, 405, 416, 421, 429, 500, 502, 503, 504),
    )
)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Where requests are counted that are alike in all but size and time."""

    each: tuple[Cell, ...]
    """One more of each for a request."""
    disk: Cell
    upstream: Cell
    memory: Cell
    received: Cell
    first_byte: Cell
    pulled: Cell | None = None
    pushed: Cell | None = None
    """As distribution counts bytes."""


class RequestTallies:
    """Counts records; see ``Writer``."""

    def __init__(self) -> None:
        self._names = FirstNames(MOST_REGISTRIES)
        self._tallies = Tallies()
        self._alike: dict[tuple[object, ...], _Cells] = {}
        for family in families.AS_DISTRIBUTION:
            for type_ in ("blob", "manifest"):
                self._tallies.cell(family, type_)
        for result in ("saved", "spent"):
            self._tallies.cell(families.HUB_PULLS, result)

    def write(self, records: Sequence[RequestRecord]) -> None:
        """Count some."""
        with self._tallies.lock:
            for record in records:
                self._count(record)

    def _count(self, record: RequestRecord) -> None:
        cells = self._cells(record)
        for cell in cells.each:
            cell[0] += 1
        sent, received = record.sent, record.from_upstream
        disk = min(sent, record.from_disk)
        upstream = min(sent - disk, received)
        cells.disk[0] += disk
        cells.upstream[0] += upstream
        cells.memory[0] += sent - disk - upstream
        cells.received[0] += received
        if cells.pulled is not None and cells.pushed is not None:
            cells.pulled[0] += received
            cells.pushed[0] += sent
        observe(families.FIRST_BYTE, cells.first_byte, record.first_byte_ms / 1000)

    def _cells(self, record: RequestRecord) -> _Cells:
        """Looked up once for all that are alike: a record costs a fifth of what it else would."""
        outcome, road = record.outcome.value, record.road.value
        what = (record.registry, record.kind, record.method)
        key = (*what, record.answered, record.status, outcome, road)
        known = self._alike.get(key)
        if known is None:
            if len(self._alike) >= _MOST_ALIKE:
                self._alike.clear()
            known = self._alike[key] = self._find_cells(record)
        return known

    def _find_cells(self, record: RequestRecord) -> _Cells:
        cell, outcome = self._tallies.cell, record.outcome.value
        registry = self._names.label(record.registry or NO_REGISTRY)
        each = [
            cell(families.REQUESTS, registry, record.kind, outcome),
            cell(families.ANSWERS, outcome, reason(record), code(record.status)),
            cell(families.ROADS, record.road.value),
        ]
        if record.is_content:
            each.append(cell(families.CONTENT, registry))
            hits = cell(families.HITS, registry)  # 0 is a count, too
            each += [hits] if record.is_hit else []
        if record.is_hub_pull and record.outcome is not Outcome.ERROR:
            each.append(cell(families.HUB_PULLS, "saved" if record.is_hit else "spent"))
        pulled = pushed = None
        if record.is_content and record.method == "GET":
            type_ = "blob" if record.kind == "blob" else "manifest"
            hit = families.PROXY_HITS if record.is_hit else families.PROXY_MISSES
            each += [cell(families.PROXY_REQUESTS, type_), cell(hit, type_)]
            pulled = cell(families.PROXY_PULLED, type_)
            pushed = cell(families.PROXY_PUSHED, type_)
        return _Cells(
            tuple(each),
            cell(families.SENT, registry, "disk"),
            cell(families.SENT, registry, "upstream"),
            cell(families.SENT, registry, "memory"),
            cell(families.RECEIVED, registry),
            cell(families.FIRST_BYTE, record.kind, outcome),
            pulled,
            pushed,
        )

    def samples(self) -> Iterator[Samples]:
        """All that was counted so far; for any thread."""
        return self._tallies.samples()

    def upkeep(self) -> bool:
        """Nothing is ever due."""
        return False

    def close(self) -> None:
        """Nothing is held."""


def reason(record: RequestRecord) -> str:
    """Why a request was answered so, in one of a few words."""
    answer = understood(record.answered)
    match record.outcome:
        case Outcome.TUNNEL | Outcome.COLLAPSED:
            return str(record.outcome.value)
        case Outcome.ERROR:
            return "refused" if record.status < 500 else "failed"
        case Outcome.MISS if answer.fwd_status:
            return "answered"
        case Outcome.MISS if not answer.detail:
            return "fetched" if "stored" in record.answered else "unanswered"
    if answer.detail in _REASONS:
        return answer.detail
    return "held" if record.outcome is Outcome.HIT and not answer.detail else "other"


def code(status: int) -> str:
    """The label of a status: itself where it is one that is common, else its class."""
    if status in _CODES:
        return str(status)
    if status == 0:
        return "none"
    return f"{status // 100}xx" if 100 <= status < 600 else "other"

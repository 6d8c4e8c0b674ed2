"""Sums of requests, by minute, hour and day, registry and outcome: what charts are drawn of.

They outlive the records: minutes for two days, hours for a hundred days, days for ever. So the days
add up to what was ever saved.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Literal, TypeAlias

from entrepot.observe.outcome import Outcome
from entrepot.observe.request_record import RequestRecord

Span: TypeAlias = Literal["minute", "hour", "day"]

SECONDS: dict[Span, int] = {"minute": 60, "hour": 3600, "day": 86400}
"""How long each span is; all begin at a multiple of it, so days are those of UTC."""
_KEPT_SECONDS: dict[Span, float] = {"minute": 2 * 86400.0, "hour": 100 * 86400.0}
_MOST_REGISTRIES = 200
OTHERS = "others"
"""The registry of all that came after the first 200: clients can name ever new ones."""

_COLUMNS = (
    "requests",
    "content",
    "hits",
    "sent",
    "from_upstream",
    "pulls",
    "hub_pulls",
    "hub_pulls_saved",
)
_ADD = (
    f"INSERT INTO sums (span, start, registry, outcome, {', '.join(_COLUMNS)})"  # noqa: S608 no text of others
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{column} = {column} + excluded.{column}" for column in _COLUMNS)
)


@dataclass(slots=True)
class Sum:
    """What some requests add up to; ``sent`` and ``from_upstream`` in bytes."""

    requests: int = 0
    content: int = 0
    """Those for manifests and blobs that were answered with success."""
    hits: int = 0
    """Those of them that the registry did not have to send."""
    sent: int = 0
    from_upstream: int = 0
    pulls: int = 0
    hub_pulls: int = 0
    """What Docker Hub would count (``RequestRecord.is_hub_pull``), had each come there."""
    hub_pulls_saved: int = 0
    """Those of them that did not."""

    @property
    def saved(self) -> int:
        """Bytes that did not have to come from upstream."""
        return max(0, self.sent - self.from_upstream)

    def add(self, record: RequestRecord, *, begins_pull: bool) -> None:
        """Count one request more."""
        self.requests += 1
        self.content += record.is_content
        self.hits += record.is_hit
        self.sent += record.sent
        self.from_upstream += record.from_upstream
        self.pulls += begins_pull
        if record.is_hub_pull and record.outcome is not Outcome.ERROR:
            self.hub_pulls += 1
            self.hub_pulls_saved += record.is_hit


class Sums:
    """Adds to the sums, within a transaction of the caller's."""

    def __init__(self) -> None:
        self._registries: set[str] | None = None

    def forget(self) -> None:
        """Look again which registries there are: this is another database."""
        self._registries = None

    def add(
        self, connection: sqlite3.Connection, records: Iterable[tuple[RequestRecord, bool]]
    ) -> None:
        """Add some records, each with whether it begins a pull."""
        sums: dict[tuple[int, str, str], Sum] = {}
        for record, begins_pull in records:
            minute = int(record.at // 60)
            key = (minute, self._named(connection, record.registry), record.outcome.value)
            added = sums.get(key)
            if added is None:
                added = sums[key] = Sum()
            added.add(record, begins_pull=begins_pull)
        connection.executemany(_ADD, _rows(sums))

    def _named(self, connection: sqlite3.Connection, registry: str) -> str:
        if self._registries is None:
            found = connection.execute("SELECT DISTINCT registry FROM sums WHERE span = 'day'")
            self._registries = {name for (name,) in found}
        if registry in self._registries:
            return registry
        if len(self._registries) >= _MOST_REGISTRIES:
            return OTHERS
        self._registries.add(registry)
        return registry

    @staticmethod
    def drop_old(connection: sqlite3.Connection, now: float) -> None:
        """Drop minutes and hours that are too long ago."""
        for span, seconds in _KEPT_SECONDS.items():
            connection.execute(
                "DELETE FROM sums WHERE span = ? AND start < ?", (span, now - seconds)
            )


def _rows(sums: Mapping[tuple[int, str, str], Sum]) -> Iterator[tuple[object, ...]]:
    """What to add to each span that a minute is in."""
    for (minute, registry, outcome), added in sums.items():
        for span, seconds in SECONDS.items():
            yield span, minute * 60 // seconds * seconds, registry, outcome, *astuple(added)

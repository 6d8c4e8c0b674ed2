"""Reading the records: what the page, the metrics and the command line show, all from here.

A reader has a connection of its own beside the one that writes, also in another process. It sees
what was committed: the last second may be missing, and before the first there is nothing. It waits
for the disk, so it is never for the event loop's thread.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrepot.observe import database
from entrepot.observe.outcome import Outcome
from entrepot.observe.request_record import RequestRecord, Road
from entrepot.observe.sums import Span, Sum
from entrepot.storage.errors import storage_reason

MOST_AT_ONCE = 1000
"""Rows of one page."""

_WORDS = ("client", "agent", "registry", "repository", "answered", "why", "cut")
_PLAIN = "at road kind reference method status outcome sent from_disk from_upstream first_byte_ms"
_REQUESTS = (
    "SELECT requests.id AS id, requests.pull AS pull, total_ms, "  # noqa: S608 no text of others
    + ", ".join(f"requests.{name} AS {name}" for name in _PLAIN.split())
    + ", "
    + ", ".join(f"coalesce({name}s.word, '') AS {name}" for name in _WORDS)
    + " FROM requests "
    + " ".join(f"LEFT JOIN words AS {name}s ON {name}s.id = requests.{name}" for name in _WORDS)
)
_PULLS = (
    "SELECT pulls.*, c.word AS client_word, a.word AS agent_word, r.word AS registry_word,"
    " n.word AS repository_word FROM pulls LEFT JOIN words AS c ON c.id = client"
    " LEFT JOIN words AS a ON a.id = agent LEFT JOIN words AS r ON r.id = registry"
    " LEFT JOIN words AS n ON n.id = repository"
)
_SUMMED = (
    "total(requests), total(content), total(hits), total(sent), total(from_upstream), total(pulls),"
    " total(hub_pulls), total(hub_pulls_saved)"
)


_RANKED = "count(*), total(requests), total(failed), total(sent), total(from_upstream), max(ended)"
_TOP_IMAGES = (
    f"SELECT r.word, n.word, {_RANKED} FROM pulls JOIN words AS r ON r.id = registry"  # noqa: S608 no text of others
    " JOIN words AS n ON n.id = repository WHERE began >= ?"
    " GROUP BY registry, repository ORDER BY 3 DESC, 8 DESC LIMIT ?"
)
_CLIENTS = (
    # Of the columns that are not summed SQLite takes the row that has the maximum.
    f"SELECT c.word, a.word, {_RANKED} FROM pulls JOIN words AS c ON c.id = client"  # noqa: S608 as above
    " JOIN words AS a ON a.id = agent WHERE began >= ?"
    " GROUP BY client ORDER BY 3 DESC, 8 DESC LIMIT ?"
)


_FAILURES = (
    "SELECT w.word, r.word, count(*), max(at) FROM requests JOIN words AS w ON w.id = why"
    " JOIN words AS r ON r.id = registry"
    " WHERE at >= ? AND (outcome = 'error' OR status >= 400 AND status <> 401)"
    " GROUP BY why, registry ORDER BY 3 DESC, 4 DESC LIMIT ?"
)


class RecordsUnreadableError(Exception):
    """The records cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A record with its number, by which one pages, and that of its pull."""

    number: int
    pull: int | None
    record: RequestRecord


@dataclass(frozen=True, slots=True)
class StoredPull:
    """A pull (``pulls``); times in seconds of the time of day, sizes in bytes."""

    number: int
    began: float
    ended: float
    client: str
    agent: str
    road: Road
    registry: str
    repository: str
    reference: str
    requests: int
    failed: int
    sent: int
    from_upstream: int
    hub_pulls: int
    hub_pulls_saved: int


@dataclass(frozen=True, slots=True)
class SumRow:
    """One sum: a span that begins at ``start``, in seconds of the time of day."""

    start: int
    registry: str
    outcome: Outcome
    sum: Sum


@dataclass(frozen=True, slots=True)
class Ranked:
    """The pulls of one client, or of one repository; ``last`` is when the last of them ended."""

    names: tuple[str, str]
    """A registry and a repository, or a client and what its program last called itself."""
    pulls: int
    requests: int
    failed: int
    sent: int
    from_upstream: int
    last: float

    @property
    def saved(self) -> int:
        """Bytes that did not have to come from upstream."""
        return max(0, self.sent - self.from_upstream)


@dataclass(frozen=True, slots=True)
class Failure:
    """Requests to one registry that were refused or failed for one reason; a challenge is none."""

    why: str
    registry: str
    requests: int
    last: float


@dataclass(frozen=True, slots=True)
class Filter:
    """Which requests or pulls are wanted; None for any. All of it is exact."""

    client: str | None = None
    registry: str | None = None
    repository: str | None = None
    outcome: Outcome | None = None
    since: float | None = None
    until: float | None = None


class RecordReader:
    """Reads the records of a data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / database.FILE_NAME

    def requests(
        self,
        wanted: Filter = Filter(),
        *,
        before: int | None = None,
        most: int = 100,
    ) -> list[StoredRequest]:
        """The latest first; ``before`` is the number of the last of the page before."""
        clause, values = _where("requests", "at", wanted, before)
        query = f"{_REQUESTS}{clause} ORDER BY requests.id DESC LIMIT ?"
        return [_request(row) for row in self._rows(query, (*values, min(most, MOST_AT_ONCE)))]

    def pulls(
        self,
        wanted: Filter = Filter(),
        *,
        before: int | None = None,
        most: int = 100,
    ) -> list[StoredPull]:
        """The latest first, paged as :meth:`requests`; an ``outcome`` is none of theirs."""
        clause, values = _where("pulls", "began", wanted, before)
        query = f"{_PULLS}{clause} ORDER BY pulls.id DESC LIMIT ?"
        return [_pull(row) for row in self._rows(query, (*values, min(most, MOST_AT_ONCE)))]

    def top_images(self, since: float, most: int) -> list[Ranked]:
        """The repositories that were pulled most often since a time."""
        return [_ranked(row) for row in self._rows(_TOP_IMAGES, (since, min(most, MOST_AT_ONCE)))]

    def clients(self, since: float, most: int) -> list[Ranked]:
        """The clients that pulled since a time, the most active first."""
        return [_ranked(row) for row in self._rows(_CLIENTS, (since, min(most, MOST_AT_ONCE)))]

    def failures(self, since: float, most: int) -> list[Failure]:
        """Why requests failed since a time, the most frequent reason first."""
        return [Failure(*row) for row in self._rows(_FAILURES, (since, min(most, MOST_AT_ONCE)))]

    def sums(self, span: Span, since: float, until: float) -> list[SumRow]:
        """The sums of the spans that begin in a time, by time, registry and outcome."""
        query = (
            f"SELECT start, registry, outcome, {_SUMMED} FROM sums"  # noqa: S608 no text of others
            " WHERE span = ? AND start >= ? AND start < ?"
            " GROUP BY start, registry, outcome ORDER BY start, registry, outcome"
        )
        return [
            SumRow(row[0], row[1], Outcome(row[2]), _sum(row[3:]))
            for row in self._rows(query, (span, since, until))
        ]

    def totals(self) -> dict[tuple[str, Outcome], Sum]:
        """What was ever counted, by registry and outcome; records that are gone included."""
        query = (
            f"SELECT registry, outcome, {_SUMMED} FROM sums"  # noqa: S608 no text of others
            " WHERE span = 'day' GROUP BY registry, outcome"
        )
        return {(row[0], Outcome(row[1])): _sum(row[2:]) for row in self._rows(query, ())}

    def _rows(self, query: str, values: Sequence[object]) -> list[sqlite3.Row]:
        with self._opened() as connection:
            if not database.is_begun(connection):
                return []
            return list(connection.execute(query, values))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(database.open_to_read(self._path)) as connection:
                connection.row_factory = sqlite3.Row
                yield connection
        except (sqlite3.Error, OSError, ValueError) as error:
            raise RecordsUnreadableError(storage_reason(error)) from error


def _where(
    table: str, time: str, wanted: Filter, before: int | None
) -> tuple[str, tuple[object, ...]]:
    """The condition of a query, and its values."""
    word = "(SELECT id FROM words WHERE word = ?)"
    outcome = wanted.outcome.value if wanted.outcome is not None else None
    parts: list[tuple[str, object]] = [
        (f"{table}.id < ?", before),
        (f"{table}.client = {word}", wanted.client),
        (f"{table}.registry = {word}", wanted.registry),
        (f"{table}.repository = {word}", wanted.repository),
        (f"{table}.outcome = ?", outcome if table == "requests" else None),
        (f"{table}.{time} >= ?", wanted.since),
        (f"{table}.{time} < ?", wanted.until),
    ]
    given = [(text, value) for text, value in parts if value is not None]
    clause = " AND ".join(text for text, _ in given)
    return f" WHERE {clause}" if clause else "", tuple(value for _, value in given)


def _request(row: sqlite3.Row) -> StoredRequest:
    known: dict[str, Any] = {name: row[name] for name in (*_PLAIN.split(), *_WORDS, "total_ms")}
    record = RequestRecord(
        **{**known, "road": Road(known["road"]), "outcome": Outcome(known["outcome"])}
    )
    return StoredRequest(row["id"], row["pull"], record)


def _pull(row: sqlite3.Row) -> StoredPull:
    return StoredPull(
        number=row["id"],
        client=row["client_word"] or "",
        agent=row["agent_word"] or "",
        road=Road(row["road"]),
        registry=row["registry_word"] or "",
        repository=row["repository_word"] or "",
        **{
            name: row[name]
            for name in [
                "began",
                "ended",
                "reference",
                "requests",
                "failed",
                "sent",
                "from_upstream",
                "hub_pulls",
                "hub_pulls_saved",
            ]
        },
    )


def _ranked(row: sqlite3.Row) -> Ranked:
    pulls, requests, failed, sent, from_upstream = (int(value) for value in row[2:7])
    return Ranked((row[0], row[1]), pulls, requests, failed, sent, from_upstream, row[7])


def _sum(values: Sequence[float]) -> Sum:
    return Sum(*(int(value) for value in values))

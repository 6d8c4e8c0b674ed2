"""Pulls: which requests of a client are for one image.

A pull is what one client asks of one repository: it begins with a manifest, by tag or by digest,
and goes on with the manifests and blobs that follow, until nothing was asked for five minutes. A
client that asks for a manifest again begins another pull

- by a tag: where it is another tag, or it has asked for blobs since;
- by a digest: where it has asked for blobs since, and the pull has no index, whose manifests may
  well come one after another.

What a manifest lists is not looked into: so two images of one repository that a client pulls at the
same time by digest may count as one. A challenge (401) begins nothing, since the same request comes
again with a login.
"""

import sqlite3
from dataclasses import astuple, dataclass

from entrepot.bounded_map import BoundedMap
from entrepot.observe.outcome import Outcome
from entrepot.observe.request_record import RequestRecord
from entrepot.observe.words import Words

REST_SECONDS = 300.0
_MOST_OPEN = 4096
_MANIFESTS = frozenset({"manifest", "index"})

_BEGIN = (
    "INSERT INTO pulls (began, ended, client, agent, road, registry, repository, reference,"
    " requests, failed, sent, from_upstream, hub_pulls, hub_pulls_saved)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0) RETURNING id"
)
_ADD = (
    "UPDATE pulls SET ended = max(ended, ?), requests = requests + ?, failed = failed + ?,"
    " sent = sent + ?, from_upstream = from_upstream + ?, hub_pulls = hub_pulls + ?,"
    " hub_pulls_saved = hub_pulls_saved + ? WHERE id = ?"
)


@dataclass(slots=True)
class _Added:
    """What a pull has gained since it was last written."""

    requests: int = 0
    failed: int = 0
    sent: int = 0
    from_upstream: int = 0
    hub_pulls: int = 0
    hub_pulls_saved: int = 0


@dataclass(slots=True)
class _Open:
    """A pull that may go on."""

    number: int
    reference: str
    ended: float
    has_blobs: bool = False
    has_index: bool = False


class Pulls:
    """Finds the pull of each request, within a transaction of the caller's."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._open: BoundedMap[tuple[str, str, str], _Open] = BoundedMap(_MOST_OPEN)
        self._added: dict[int, tuple[_Open, _Added]] = {}

    def forget(self) -> None:
        """Let no pull go on: the last transaction came to nothing."""
        self._open.clear()
        self._added.clear()

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what the requests of this transaction added, a row a pull."""
        connection.executemany(
            _ADD,
            [
                (pull.ended, *astuple(added), number)
                for number, (pull, added) in self._added.items()
            ],
        )
        self._added.clear()

    def add(self, connection: sqlite3.Connection, record: RequestRecord) -> tuple[int | None, bool]:
        """The number of a request's pull, if it is part of one, and whether it begins that."""
        if record.outcome is Outcome.TUNNEL or not record.repository:
            return None, False
        is_manifest = record.kind in _MANIFESTS
        if record.method not in ("GET", "HEAD") or not (is_manifest or record.kind == "blob"):
            return None, False
        key = (record.client, record.registry, record.repository)
        pull, begins = self._open.get(key), False
        if pull is None or record.at > pull.ended + REST_SECONDS or _begins_another(record, pull):
            if not is_manifest or record.status == 401:
                return None, False
            pull, begins = self._begin(connection, record), True
            self._open.put(key, pull)
        self._go_on(pull, record)
        return pull.number, begins

    def _begin(self, connection: sqlite3.Connection, record: RequestRecord) -> _Open:
        def number_of(word: str) -> int:
            return self._words.number(connection, word, record.at)

        (number,) = connection.execute(
            _BEGIN,
            (
                record.at,
                record.at,
                number_of(record.client),
                number_of(record.agent),
                record.road.value,
                number_of(record.registry),
                number_of(record.repository),
                record.reference,
            ),
        ).fetchone()
        return _Open(number, record.reference, record.at)

    def _go_on(self, pull: _Open, record: RequestRecord) -> None:
        pull.ended = max(pull.ended, record.at + record.total_ms / 1000)
        pull.has_blobs = pull.has_blobs or record.kind == "blob"
        pull.has_index = pull.has_index or record.kind == "index"
        if pull.number not in self._added:
            self._added[pull.number] = (pull, _Added())
        added = self._added[pull.number][1]
        added.requests += 1
        added.failed += bool(record.cut) or (record.status >= 400 and record.status != 401)
        added.sent += record.sent
        added.from_upstream += record.from_upstream
        if record.is_hub_pull and record.outcome is not Outcome.ERROR:
            added.hub_pulls += 1
            added.hub_pulls_saved += record.is_hit


def _begins_another(record: RequestRecord, pull: _Open) -> bool:
    if record.kind not in _MANIFESTS or record.status == 401:
        return False
    if ":" in record.reference:
        return pull.has_blobs and not pull.has_index
    return pull.has_blobs or record.reference != pull.reference

"""Records on the disk: written in batches, bounded by age and size, folded into sums and pulls.

All on the recorder's thread. Whatever is wrong with the file or its disk, pulls do not notice. A
damaged database, or one of another version, is set aside and begun anew; where the disk is full or
somebody holds the database, it is left alone for some seconds, and what comes meanwhile is counted
as dropped (``records_dropped``).
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from entrepot.events.counters import Counter
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.observe import database
from entrepot.observe.database import UnfitError
from entrepot.observe.pulls import Pulls
from entrepot.observe.request_record import RequestRecord
from entrepot.observe.retention import Retention
from entrepot.observe.sums import Sums
from entrepot.observe.words import Words
from entrepot.storage.errors import is_damage, storage_reason

_REST_SECONDS = 10.0
_INSERT = (
    "INSERT INTO requests (at, pull, client, agent, road, registry, kind, repository, reference,"
    " method, status, answered, outcome, why, cut, sent, from_disk, from_upstream, first_byte_ms,"
    " total_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class RecordStore:
    """Writes records into the database of a data folder."""

    def __init__(
        self,
        folder: Path,
        events: Events,
        retention: Retention,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """``clock`` is never set, ``wall`` is the time of day."""
        self._path = folder / database.FILE_NAME
        self._events = events
        self._retention = retention
        self._clock = clock
        self._wall = wall
        self._words = Words()
        self._pulls = Pulls(self._words)
        self._sums = Sums()
        self._connection: sqlite3.Connection | None = None
        self._rests_until = 0.0

    def write(self, records: Sequence[RequestRecord]) -> None:
        """Write some records, all or none; see ``Writer``."""
        rests = self._clock() < self._rests_until
        if not rests and self._tried(lambda connection: self._write(connection, records)):
            return
        for _ in records:
            self._events.count(Counter.RECORDS_DROPPED)

    def upkeep(self) -> bool:
        """Drop what is too old or too much, where that is due; whether there is more to drop."""
        now = self._clock()
        if now < self._rests_until or not self._retention.is_due(now):
            return False
        more = False

        def drop(connection: sqlite3.Connection) -> None:
            nonlocal more
            more = self._retention.drop_some(connection, self._words, self._wall())

        self._tried(drop)
        self._retention.done(now, more=more)
        return more

    def close(self) -> None:
        """Close the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _tried(self, work: Callable[[sqlite3.Connection], None]) -> bool:
        """Whether it could be done, perhaps in a database begun anew."""
        for _ in range(2):
            try:
                self._in_transaction(work)
            except (UnfitError, sqlite3.Error, OSError) as error:
                self._let_go()
                if not isinstance(error, UnfitError) and not is_damage(error):
                    self._failed(storage_reason(error))
                    return False
                if not self._set_aside(error):
                    return False
            else:
                return True
        self._failed("the database was damaged again at once")
        return False

    def _in_transaction(self, work: Callable[[sqlite3.Connection], None]) -> None:
        if self._connection is None:
            self._connection = database.open_to_write(self._path)
        self._connection.execute("BEGIN IMMEDIATE")
        work(self._connection)
        self._connection.execute("COMMIT")

    def _write(self, connection: sqlite3.Connection, records: Sequence[RequestRecord]) -> None:
        rows, counted = [], []
        now = self._wall()
        for record in records:
            pull, begins = self._pulls.add(connection, record)
            rows.append(self._row(connection, record, pull, now))
            counted.append((record, begins))
        connection.executemany(_INSERT, rows)
        self._pulls.write(connection)
        self._sums.add(connection, counted)

    def _row(
        self, connection: sqlite3.Connection, record: RequestRecord, pull: int | None, now: float
    ) -> tuple[object, ...]:
        def number_of(word: str) -> int:
            return self._words.number(connection, word, now)

        return (
            record.at,
            pull,
            number_of(record.client),
            number_of(record.agent),
            record.road.value,
            number_of(record.registry),
            record.kind,
            number_of(record.repository),
            record.reference,
            record.method,
            record.status,
            number_of(record.answered),
            record.outcome.value,
            number_of(record.why),
            number_of(record.cut),
            record.sent,
            record.from_disk,
            record.from_upstream,
            record.first_byte_ms,
            record.total_ms,
        )

    # What goes wrong

    def _let_go(self) -> None:
        """Close what failed; what was remembered of the transaction came to nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()  # which rolls back
        self._words.forget()
        self._pulls.forget()
        self._sums.forget()

    def _set_aside(self, error: Exception) -> bool:
        """Move the database away; whether a new one can be begun."""
        reason = str(error) if isinstance(error, UnfitError) else storage_reason(error)
        try:
            aside = database.set_aside(self._path)
        except OSError as problem:
            self._failed(storage_reason(problem))
            return False
        self._events.log(Event.RECORDS_DAMAGED, file=self._path, reason=reason, moved_to=aside)
        return True

    def _failed(self, reason: str) -> None:
        self._rests_until = self._clock() + _REST_SECONDS
        self._events.log_once(Event.RECORDS_FAILED, reason=reason)

"""The database of records: one file of SQLite's, opened by whoever writes and by those who read.

It is no part of the store: where it breaks, pulls go on, and it is set aside and begun anew. A
commit is on the disk after a kill of the process; after a power cut the last seconds may be
missing (WAL, ``synchronous=NORMAL``), which SQLite sees to by itself.
"""

import os
import sqlite3
from pathlib import Path

from entrepot.storage.errors import is_damage

FILE_NAME = "records.db"
SCHEMA = 1
"""What ``PRAGMA user_version`` says of a database that this version wrote."""

_BUSY_SECONDS = 2.0
_SIDE_FILES = ("-wal", "-shm")
_TABLES = """
CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE, used REAL NOT NULL);
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    pull INTEGER,
    client INTEGER NOT NULL,
    agent INTEGER NOT NULL,
    road TEXT NOT NULL,
    registry INTEGER NOT NULL,
    kind TEXT NOT NULL,
    repository INTEGER NOT NULL,
    reference TEXT NOT NULL,
    method TEXT NOT NULL,
    status INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    why INTEGER NOT NULL,
    cut INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    from_disk INTEGER NOT NULL,
    from_upstream INTEGER NOT NULL,
    first_byte_ms INTEGER NOT NULL,
    total_ms INTEGER NOT NULL
);
CREATE INDEX requests_at ON requests (at);
CREATE TABLE pulls (
    id INTEGER PRIMARY KEY,
    began REAL NOT NULL,
    ended REAL NOT NULL,
    client INTEGER NOT NULL,
    agent INTEGER NOT NULL,
    road TEXT NOT NULL,
    registry INTEGER NOT NULL,
    repository INTEGER NOT NULL,
    reference TEXT NOT NULL,
    requests INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    from_upstream INTEGER NOT NULL,
    hub_pulls INTEGER NOT NULL,
    hub_pulls_saved INTEGER NOT NULL
);
CREATE INDEX pulls_began ON pulls (began);
CREATE TABLE sums (
    span TEXT NOT NULL,
    start INTEGER NOT NULL,
    registry TEXT NOT NULL,
    outcome TEXT NOT NULL,
    requests INTEGER NOT NULL,
    content INTEGER NOT NULL,
    hits INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    from_upstream INTEGER NOT NULL,
    pulls INTEGER NOT NULL,
    hub_pulls INTEGER NOT NULL,
    hub_pulls_saved INTEGER NOT NULL,
    PRIMARY KEY (span, start, registry, outcome)
) WITHOUT ROWID;
"""


class UnfitError(Exception):
    """A file that is no database of records, or one of another version."""


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open or create it, for the one who writes.

    Raises :class:`UnfitError` where it is damaged or another's, ``sqlite3.Error`` or OSError where
    it cannot be had.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before anything else
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA journal_size_limit={8 * 1024 * 1024}")
        connection.execute("PRAGMA temp_store=MEMORY")
        if version == 0 and tables == 0:
            connection.executescript(f"BEGIN;{_TABLES}PRAGMA user_version={SCHEMA};COMMIT;")
        elif version != SCHEMA:
            raise UnfitError(f"its schema is {version}, this version reads {SCHEMA}")
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise UnfitError("the database is damaged") from error
        raise


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open it beside the one who writes, an empty one where there is none yet.

    Raises ``sqlite3.Error`` where it cannot be read.
    """
    if not path.exists():
        return sqlite3.connect(":memory:")
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS
    )
    connection.execute("PRAGMA query_only=1")
    return connection


def is_begun(connection: sqlite3.Connection) -> bool:
    """Whether there are tables yet. Raises ``sqlite3.Error``."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return bool(version)


def set_aside(path: Path) -> Path:
    """Move a database out of the way; where to. Raises OSError."""
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    for suffix in _SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside

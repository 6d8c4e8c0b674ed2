"""A diskcache folder and its database: opened, looked through, and set aside where damaged.

A database is read as a whole before it is opened, unless nothing wrote to it since an orderly end
(see ``startup.clean_shutdown``).

What is lost with a database can be had again (blobs are fetched, registries are asked), so a
damaged one never keeps the proxy from starting: it is moved aside, under one name so that such
files do not pile up, and a new one begins.
"""

import contextlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import diskcache

from entrepot.storage.diskcache_db.diskcache_disk import SafeDisk
from entrepot.storage.errors import is_damage

_BUSY_SECONDS = 2
"""How long a writer waits for another before the store counts as unusable."""

_COLUMNS = "rowid, key, raw, expire_time, access_time, tag, size, mode, filename, value"
_BY_FILE = (
    "CREATE INDEX IF NOT EXISTS Cache_filename ON Cache (filename) WHERE filename IS NOT NULL"
)
# What is not evicted: ``inventory.pins``.
_PINNED = "CREATE TABLE IF NOT EXISTS Pinned (key TEXT PRIMARY KEY) WITHOUT ROWID"
# What rows hold themselves, as diskcache's ``Settings.size`` has it of their files: kept by
# triggers, so that it is right whoever writes, and nobody needs to read the table for it.
_SUMS = (
    "CREATE TABLE Sums (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL)",
    """CREATE TRIGGER Sums_insert AFTER INSERT ON Cache WHEN NEW.value IS NOT NULL BEGIN
        UPDATE Sums SET bytes = bytes + length(NEW.value) WHERE name = 'rows'; END""",
    """CREATE TRIGGER Sums_update AFTER UPDATE OF value ON Cache BEGIN
        UPDATE Sums SET bytes = bytes + length(COALESCE(NEW.value, ''))
            - length(COALESCE(OLD.value, '')) WHERE name = 'rows'; END""",
    """CREATE TRIGGER Sums_delete AFTER DELETE ON Cache WHEN OLD.value IS NOT NULL BEGIN
        UPDATE Sums SET bytes = bytes - length(OLD.value) WHERE name = 'rows'; END""",
)
_PARTS_OF_SUMS = "SELECT type, name FROM sqlite_master WHERE name LIKE 'Sums%' ORDER BY type DESC"
_BYTES_IN_ROWS = "SELECT bytes FROM Sums WHERE name = 'rows'"
_SUM_UP = "INSERT INTO Sums SELECT 'rows', COALESCE(SUM(length(value)), 0) FROM Cache"


class DamagedError(Exception):
    """A database that cannot be used as it is; the text says how that shows."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What was wrong with a database, and where it is now; None where nothing was left of it."""

    reason: str
    moved_to: Path | None


def open_cache(
    folder: Path, policy: str, *, checked: bool = False
) -> tuple[diskcache.Cache, Damage | None]:
    """Open or create a diskcache that neither pickles nor evicts by itself.

    Where its database was damaged, it is new, and the second value says what was wrong. One that
    is ``checked``, since nothing has written to it after an orderly end, is not read for that.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        return _open(folder, policy, checked=checked), None
    except DamagedError as error:
        damage = Damage(str(error), _set_aside(folder))
        return _open(folder, policy, checked=False), damage


def _set_aside(folder: Path) -> Path | None:
    """Give a damaged database another name, its write-ahead log with it; which, if any.

    An empty one, as a kill at the first start leaves it, just goes.
    """
    if _is_empty(folder / "cache.db") and _is_empty(folder / "cache.db-wal"):
        for suffix in ("", "-wal", "-shm"):
            (folder / f"cache.db{suffix}").unlink(missing_ok=True)
        return None
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            (folder / f"cache.db{suffix}").rename(folder / f"cache.db.damaged{suffix}")
    (folder / "cache.db-shm").unlink(missing_ok=True)
    return folder / "cache.db.damaged"


def _is_empty(path: Path) -> bool:
    return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def _open(folder: Path, policy: str, *, checked: bool) -> diskcache.Cache:
    try:
        _look_at(folder / "cache.db", checked=checked)
        with contextlib.ExitStack() as undo:
            cache = diskcache.Cache(
                folder,
                timeout=_BUSY_SECONDS,
                disk=SafeDisk,
                eviction_policy=policy,
                size_limit=2**62,  # ``capacity`` keeps it: diskcache would evict ten rows at a time
                cull_limit=0,
                sqlite_cache_size=512,  # pages a connection; the default may take 32 MiB each
                sqlite_mmap_size=0,  # else one that is cut short, or a bad sector, is a SIGBUS
            )
            undo.callback(cache.close)
            cache._sql(f"SELECT {_COLUMNS} FROM Cache LIMIT 0").fetchall()  # noqa: SLF001, S608
            cache._sql(_BY_FILE)  # noqa: SLF001 diskcache has no such call
            if policy != "none":
                _keep_sums(cache)
                cache._sql(_PINNED)  # noqa: SLF001 the same
            undo.pop_all()
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedError("its settings cannot be read") from error
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise DamagedError(str(error)) from error
        raise
    return cache


def _keep_sums(cache: diskcache.Cache) -> None:
    """Have the bytes in rows counted from now on; summed up for a folder of an earlier version."""
    sql = cache._sql  # noqa: SLF001 diskcache has no such call
    parts = sql(_PARTS_OF_SUMS).fetchall()
    if len(parts) == len(_SUMS) and sql(_BYTES_IN_ROWS).fetchall():
        return
    with cache.transact():
        for kind, name in parts:
            sql(f"DROP {kind} {name}")
        for statement in (*_SUMS, _SUM_UP):
            sql(statement)


def bytes_in_rows(cache: diskcache.Cache) -> int:
    """How many bytes the rows hold themselves, without what is in files."""
    ((count,),) = cache._sql(_BYTES_IN_ROWS).fetchall()  # noqa: SLF001 the same
    return int(count)


def try_to_use(cache: diskcache.Cache) -> None:
    """Read the table and take the lock for writing, and write nothing. Raises what SQLite does."""
    sql = cache._sql  # noqa: SLF001 its ``transact`` takes every error for a lock that is held
    sql("SELECT rowid FROM Cache LIMIT 1").fetchall()
    sql("BEGIN IMMEDIATE")
    sql("ROLLBACK")


def _look_at(path: Path, *, checked: bool) -> None:
    """Find damage of the structure, and a lock that diskcache would wait a minute for."""
    if not path.exists():
        return
    if not path.is_file():
        raise DamagedError("it is no file")
    if path.stat().st_size == 0:
        raise DamagedError("it is empty")
    with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA mmap_size = 0")
        ((found,),) = [("ok",)] if checked else connection.execute("PRAGMA quick_check(1)")
        if found != "ok":
            raise DamagedError(" ".join(found.split()))
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")

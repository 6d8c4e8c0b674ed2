"""Copies of databases: of one that is in use, as of one moment; and whether a copy is sound."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.image_names import registry_name
from entrepot.storage.diskcache_db import keys

_BUSY_SECONDS = 10
_PAGES = 1000
_PINS = "SELECT key FROM Cache WHERE key >= ? AND key < ? AND raw = 1 ORDER BY key"


def copy_database(source: Path, target: Path) -> None:
    """Copy a database that somebody may be writing to (SQLite's online backup).

    It takes its pages some at a time, so that writers go on. Raises what SQLite raises.
    """
    with (
        closing(sqlite3.connect(_uri(source), uri=True, timeout=_BUSY_SECONDS)) as read,
        closing(sqlite3.connect(target)) as written,
    ):
        read.backup(written, pages=_PAGES)
        written.execute("PRAGMA journal_mode = DELETE")


def problem_of(database: Path) -> str | None:
    """What is wrong with a database that nobody uses; None where it can be read as a whole."""
    try:
        with closing(sqlite3.connect(_uri(database), uri=True)) as connection:
            ((found,),) = connection.execute("PRAGMA quick_check(1)")
            return None if found == "ok" else " ".join(str(found).split())
    except sqlite3.Error as error:
        return str(error)


def pinned_names(index: Path) -> list[str]:
    """The images that are pinned by a copy of the database `index`, by digest."""
    with closing(sqlite3.connect(_uri(index), uri=True)) as connection:
        connection.text_factory = lambda text: text.decode(errors="replace")
        rows = connection.execute(_PINS, (keys.PINS.start, keys.PINS.end)).fetchall()
    return [name for (key,) in rows if (name := _name(key)) is not None]


def _name(key: str) -> str | None:
    try:
        repository, digest = keys.read_pin(key)
    except ValueError:
        return None  # a damaged row
    return _said(repository, digest)


def _said(repository: Repository, digest: Digest) -> str:
    return f"{registry_name(repository.origin)}/{repository.name}@{digest}"


def _uri(path: Path) -> str:
    return f"file:{quote(str(path))}?mode=ro"

"""Single rows of a diskcache, read and removed beside its own calls.

diskcache reads a row by its key, which counts as use, and moves its file where it is set. Here
rows are looked at, marked and removed whatever is in them: text is read as bytes, since one
flipped bit can make a row's text no UTF-8, which would end the query.
"""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import diskcache

from entrepot.storage.diskcache_db.diskcache_disk import is_value_name
from entrepot.storage.errors import sqlite_code

_LEAST = -(2**63)
_NEXT_ROWS = (
    "SELECT rowid, size, CAST(filename AS BLOB), typeof(key) = 'text' AND raw = 1 FROM Cache"
    " WHERE rowid > ? ORDER BY rowid LIMIT 500"
)
_ROW = (
    "SELECT rowid, size, CAST(filename AS BLOB), typeof(key) = 'text' AND raw = 1 FROM Cache"
    " WHERE rowid = ?"
)
_HAS_FILE = "SELECT 1 FROM Cache WHERE filename = ?"
_HAS_KEY = "SELECT 1 FROM Cache WHERE key = ? AND raw = 1"
_SET_TAG = "UPDATE Cache SET tag = ? WHERE key = ? AND raw = 1"


@dataclass(frozen=True, slots=True)
class Row:
    """One row, for those who look through all of them."""

    number: int
    size: int
    filename: str | None
    sound: bool
    """Whether it can be one of ours."""


class RowDamagedError(Exception):
    """A row makes no sense."""


@contextlib.contextmanager
def reading_row() -> Iterator[None]:
    """Tell a row's damage from a database or a disk that does not work."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RowDamagedError from error
    except sqlite3.OperationalError as error:
        if sqlite_code(error) is not None:
            raise
        raise RowDamagedError from error  # Python's own: a text that is no UTF-8


def rows_after(cache: diskcache.Cache, number: int | None) -> list[Row]:
    """The next rows by number, at most 500, whatever is in them; None: from the first."""
    least = _LEAST if number is None else number
    found = cache._sql(_NEXT_ROWS, (least,)).fetchall()  # noqa: SLF001 diskcache has no such call
    return [_row(*columns) for columns in found]


def row_of(cache: diskcache.Cache, number: int) -> Row | None:
    """A row as it is now."""
    found = cache._sql(_ROW, (number,)).fetchone()  # noqa: SLF001 the same
    return None if found is None else _row(*found)


def _row(number: int, size: object, filename: bytes | None, sound: int) -> Row:
    return Row(
        number,
        size if isinstance(size, int) else -1,
        None if filename is None else text_of(filename),
        bool(sound),
    )


def has_file(cache: diskcache.Cache, filename: str) -> bool:
    """Whether a row names this file."""
    return cache._sql(_HAS_FILE, (filename,)).fetchone() is not None  # noqa: SLF001 the same


def has_key(cache: diskcache.Cache, key: str) -> bool:
    """Whether there is such a row; looking does not count as use."""
    return cache._sql(_HAS_KEY, (key,)).fetchone() is not None  # noqa: SLF001 the same


def set_tag(cache: diskcache.Cache, key: str, tag: str) -> None:
    """Set a row's tag column; ``Cache.set`` would move its file."""
    cache._sql(_SET_TAG, (tag, key))  # noqa: SLF001 the same


def remove_row(cache: diskcache.Cache, number: int, filename: str | None) -> None:
    """Remove a row and its file, even a row that no key of ours can name."""
    cache._sql("DELETE FROM Cache WHERE rowid = ?", (number,))  # noqa: SLF001 the same
    if filename is not None and is_value_name(filename):
        remove_file(Path(cache.directory) / filename)


def remove_key(cache: diskcache.Cache, key: str) -> None:
    """Remove a row without reading it."""
    cache._sql("DELETE FROM Cache WHERE key = ? AND raw = 1", (key,))  # noqa: SLF001 the same


def remove_damaged(cache: diskcache.Cache, key: str) -> None:
    """Remove a row and its file; the row alone, where it names a file that cannot be ours."""
    try:
        with reading_row():
            cache.delete(key)
    except RowDamagedError:
        remove_key(cache, key)


def is_whole(folder: Path, row: Row) -> bool:
    """Whether a row of the cache in ``folder`` can be one of ours, and has its whole file."""
    if row.filename is None or not row.sound:
        return row.sound
    path = folder / row.filename
    return is_value_name(row.filename) and path.is_file() and path.stat().st_size == row.size


def remove_file(path: Path) -> None:
    """Remove what lies in the place of a value's file."""
    if path.is_dir() and not path.is_symlink():  # nothing of ours
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def text_of(value: object) -> str:
    """A text that was read as bytes, whatever has become of it."""
    return value.decode(errors="replace") if isinstance(value, bytes) else ""

"""What is wrong with a disk or a database, in words."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import diskcache
import pytest

from entrepot.storage.errors import DAMAGED, sqlite_code, storage_reason


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EACCES, "no permission: '/data/lock'"),
        (errno.EPERM, "no permission: '/data/lock'"),
        (errno.EROFS, "the file system is read-only: '/data/lock'"),
        (errno.ENOSPC, "the disk is full: '/data/lock'"),
        (errno.EIO, "the disk does not work: '/data/lock'"),
        (errno.EMFILE, "too many open files: '/data/lock'"),
    ],
)
def test_the_systems_numbers_become_words(number: int, reason: str) -> None:
    """And the file is named."""
    assert storage_reason(OSError(number, os.strerror(number), "/data/lock")) == reason


def test_our_own_errors_stay() -> None:
    """An error that is a sentence already is taken as it is."""
    assert storage_reason(OSError("another entrepot is using it")) == "another entrepot is using it"


def test_a_damaged_database_says_what_to_do(tmp_path: Path) -> None:
    """From SQLite's own error."""
    (tmp_path / "cache.db").write_bytes(b"no database" * 1000)
    with (
        closing(sqlite3.connect(tmp_path / "cache.db")) as connection,
        pytest.raises(sqlite3.DatabaseError) as caught,
    ):
        connection.execute("SELECT * FROM Cache")
    assert storage_reason(caught.value) == DAMAGED


def test_a_locked_database_is_somebody_elses() -> None:
    """Diskcache has an error of its own for that."""
    assert storage_reason(diskcache.Timeout()) == "another process holds the database"


def test_a_text_that_is_none_is_a_rows_damage() -> None:
    """Python's own error has no code of SQLite's: the database works."""
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(sqlite3.OperationalError) as caught,
    ):
        connection.execute("SELECT CAST(x'ff' AS TEXT)").fetchone()
    assert sqlite_code(caught.value) is None
    assert storage_reason(caught.value) == "a row of the database is damaged"

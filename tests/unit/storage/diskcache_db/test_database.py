"""A database of diskcache: what it counts, and how it is read."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from entrepot.storage.diskcache_db.database import bytes_in_rows, open_cache
from unit.storage.capacity.world import (
    BLOB,
    fill,
)


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[Any]:
    cache, _ = open_cache(tmp_path / "blobs", "least-recently-used")
    yield cache
    cache.close()


def in_rows(blobs: Any) -> int:
    """The bytes in rows, by reading all of them."""
    sql = "SELECT COALESCE(SUM(length(value)), 0) FROM Cache"
    return int(blobs._sql(sql).fetchone()[0])  # noqa: SLF001


def test_the_bytes_in_rows_are_counted_as_they_change(blobs: Any) -> None:
    """Whatever is added, replaced, touched or removed."""
    for number in range(20):
        blobs.set(f"manifest {number}", bytes(100 * number))
    fill(blobs, 2)
    blobs.set("manifest 7", bytes(5))
    blobs.set("manifest 8", bytes(BLOB))  # a file now
    blobs.set("blob 0", b"a row now")
    assert blobs.get("manifest 9") is not None
    blobs.delete("manifest 10")
    assert bytes_in_rows(blobs) == in_rows(blobs) == 19_009 - 700 + 5 - 800 - 1000
    blobs.clear()
    assert bytes_in_rows(blobs) == 0


@pytest.mark.parametrize(
    "damage",
    ["DROP TRIGGER Sums_insert", "DROP TABLE Sums", "DELETE FROM Sums"],
)
def test_a_folder_of_an_earlier_version_is_counted_once(tmp_path: Path, damage: str) -> None:
    """And so is one whose count was lost."""
    cache, _ = open_cache(tmp_path / "old", "least-recently-used")
    cache.set("manifest 1", bytes(100))
    cache._sql(damage)  # noqa: SLF001
    cache.close()
    cache, damaged = open_cache(tmp_path / "old", "least-recently-used")
    assert damaged is None
    cache.set("manifest 2", bytes(10))
    assert bytes_in_rows(cache) == in_rows(cache) == 110
    cache.close()


def test_a_database_is_read_without_a_memory_map(tmp_path: Path) -> None:
    """Else one that is cut short while it is open ends the process with a signal."""
    cache, _ = open_cache(tmp_path / "cache", "none")
    with closing(cache):
        assert cache._sql("PRAGMA mmap_size").fetchall() == [(0,)]  # noqa: SLF001

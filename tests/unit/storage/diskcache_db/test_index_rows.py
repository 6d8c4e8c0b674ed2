"""What is known for 90 days, and no more of it than there is room for."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.storage.diskcache_db.database import open_cache
from entrepot.storage.diskcache_db.index_rows import IndexRows, most_bytes

KIB, MIB, GIB = 1024, 1024**2, 1024**3


@pytest.fixture
def now() -> list[float]:
    return [1e9]


@pytest.fixture
def index(tmp_path: Path, now: list[float]) -> Iterator[IndexRows]:
    cache, _ = open_cache(tmp_path / "index", "none")
    with closing(cache):
        yield IndexRows(cache, lambda: now[0])


def count(folder: Path, of: str = "%") -> int:
    with closing(sqlite3.connect(folder / "index" / "cache.db")) as database:
        found = database.execute("SELECT COUNT(*) FROM Cache WHERE key LIKE ?", (of,))
        return int(found.fetchone()[0])


@pytest.mark.parametrize(
    ("limit", "most"),
    [(GIB, 64 * MIB), (100 * MIB, 16 * MIB), (20 * MIB, 10 * MIB), (0, 0)],
)
def test_the_index_may_take_a_part_of_the_limit(limit: int, most: int) -> None:
    assert most_bytes(limit) == most


def test_it_never_takes_more_than_it_may(index: IndexRows, tmp_path: Path) -> None:
    """What would expire first goes first; a row that stays is none of those."""
    index.bound(512 * KIB)
    index.keep_number("limit", 5)
    for number in range(500):
        index.put(f"short {number}", "x" * 200, seconds=1e6)
    for number in range(5000):
        index.put(f"long {number}", "x" * 200)
        assert index.volume() <= 512 * KIB + 16 * KIB
    assert count(tmp_path, "short %") == 0
    assert count(tmp_path, "long %") > 500
    assert index.has("long 4999")
    assert not index.has("long 0")
    assert index.number("limit") == 5


def test_what_has_expired_goes_in_turns(index: IndexRows, now: list[float], tmp_path: Path) -> None:
    """A turn removes some; what has not expired, or never does, stays."""
    for number in range(250):
        index.put(f"old {number}", seconds=100)
    index.put("new", seconds=1e9)
    index.keep_number("limit", 5)
    turns = _turns(index.expire)
    assert (turns, count(tmp_path)) == (0, 252)
    now[0] = _expiry(tmp_path) + 1
    assert _turns(index.expire) == 2
    assert count(tmp_path) == 2


def _turns(turn: Callable[[], bool]) -> int:
    """How many turns said that there may be more."""
    return next(number for number in range(100) if not turn())


def _expiry(folder: Path) -> float:
    with closing(sqlite3.connect(folder / "index" / "cache.db")) as database:
        sql = "SELECT MAX(expire_time) FROM Cache WHERE key LIKE 'old %'"
        return float(database.execute(sql).fetchone()[0])

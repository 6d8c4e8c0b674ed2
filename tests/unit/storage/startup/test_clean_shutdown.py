"""Whether the last end was an orderly one: only where nothing says otherwise."""

from collections.abc import Callable
from pathlib import Path

import pytest

from entrepot.storage.startup.clean_shutdown import mark_clean, was_clean


@pytest.fixture
def databases(tmp_path: Path) -> tuple[Path, ...]:
    paths = (tmp_path / "blobs" / "cache.db", tmp_path / "index" / "cache.db")
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"rows")
    return paths


def test_a_new_folder_has_nothing_to_look_through(tmp_path: Path) -> None:
    assert was_clean(tmp_path, (tmp_path / "blobs" / "cache.db",))


def test_an_orderly_end_counts_once(tmp_path: Path, databases: tuple[Path, ...]) -> None:
    """A kill after the start that it was asked at is none."""
    assert not was_clean(tmp_path, databases)
    mark_clean(tmp_path, databases)
    assert was_clean(tmp_path, databases)
    assert not was_clean(tmp_path, databases)


def _write_ahead(path: Path) -> None:
    path.with_name("cache.db-wal").write_bytes(b"more")


@pytest.mark.parametrize(
    "change",
    [
        Path.unlink,
        _write_ahead,
        lambda path: path.write_bytes(b"longer"),
        lambda path: path.rename(path.with_name("other")).write_bytes(b"rows"),
        lambda path: (path.parents[1] / "clean").write_bytes(b"\xff"),
        lambda path: (path.parents[1] / "clean").write_text(""),
    ],
)
def test_whatever_changed_since_has_it_looked_through(
    tmp_path: Path, databases: tuple[Path, ...], change: Callable[[Path], object]
) -> None:
    mark_clean(tmp_path, databases)
    change(databases[1])
    assert not was_clean(tmp_path, databases)


def test_a_write_in_the_same_tick_of_the_clock_shows(
    tmp_path: Path, databases: tuple[Path, ...]
) -> None:
    """The times of a file system's own clock are some milliseconds apart."""
    for number in range(100):
        mark_clean(tmp_path, databases)
        databases[0].write_bytes(b"%04d" % number)
        assert not was_clean(tmp_path, databases)


def test_what_somebody_has_open_has_no_orderly_end(
    tmp_path: Path, databases: tuple[Path, ...]
) -> None:
    """What is in the log is in the database only later."""
    _write_ahead(databases[0])
    mark_clean(tmp_path, databases)
    assert not (tmp_path / "clean").exists()

"""Keys and values on disk: text and bytes, never a pickle."""

import pickle
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diskcache
import pytest
from diskcache.core import MODE_BINARY, MODE_PICKLE

from entrepot.storage.diskcache_db.diskcache_disk import FinishedFile, PickleRefusedError, SafeDisk


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self._trace,)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Any]:
    cache = diskcache.Cache(tmp_path / "cache", disk=SafeDisk)
    yield cache
    cache.close()


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """What a bomb that went off leaves behind."""
    return tmp_path / "trace"


def write(cache: Any, sql: str, *values: object) -> None:
    """Change the database behind the cache's back, as somebody with the folder could."""
    connection = sqlite3.connect(Path(cache.directory) / "cache.db")
    with connection:
        connection.execute(sql, values)
    connection.close()


@pytest.mark.parametrize("value", [b"", b"bytes", "text", b"x" * 100_000, "y" * 100_000])
def test_text_and_bytes_are_kept(cache: Any, value: bytes | str) -> None:
    """Small values lie in the database, large ones in files; both come back as they were."""
    cache["key"] = value
    assert cache["key"] == value


@pytest.mark.parametrize("value", [None, 7, 1.5, True, ["a"], {"a": 1}, bytearray(b"x"), object()])
def test_no_other_value_is_taken(cache: Any, value: object) -> None:
    """What diskcache would pickle, or keep as a number, is refused."""
    with pytest.raises(PickleRefusedError):
        cache["key"] = value
    assert "key" not in cache


@pytest.mark.parametrize("key", [None, 7, 1.5, b"key", ("a", 1), ["a"]])
def test_no_other_key_is_taken(cache: Any, key: object) -> None:
    """A key is text, for writing and for reading."""
    with pytest.raises(PickleRefusedError):
        cache.set(key, b"value")
    with pytest.raises(PickleRefusedError):
        cache.get(key)


def test_subclasses_of_text_are_refused(cache: Any) -> None:
    """A str subclass would be pickled by diskcache, so it is no text here."""

    class Text(str):
        __slots__ = ()

    with pytest.raises(PickleRefusedError):
        cache["key"] = Text("value")
    with pytest.raises(PickleRefusedError):
        cache[Text("key")] = "value"


def test_an_open_file_is_not_copied(cache: Any, tmp_path: Path) -> None:
    """Only a finished file becomes a value; diskcache's own way of reading one is closed."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with path.open("rb") as file, pytest.raises(PickleRefusedError):
        cache.set("key", file, read=True)


def test_a_pickled_value_in_the_database_is_refused(cache: Any, trace: Path) -> None:
    """A row that somebody marked as a pickle is never unpickled."""
    cache["key"] = b"value"
    bomb = pickle.dumps(Bomb(trace))
    write(cache, "UPDATE Cache SET mode = ?, value = ?", MODE_PICKLE, bomb)
    with pytest.raises(PickleRefusedError):
        cache.get("key")
    assert not trace.exists()


def test_a_pickled_value_in_a_file_is_refused(cache: Any, trace: Path) -> None:
    """The same where the row points to a file."""
    cache["key"] = pickle.dumps(Bomb(trace)).ljust(100_000)
    write(cache, "UPDATE Cache SET mode = ?", MODE_PICKLE)
    with pytest.raises(PickleRefusedError):
        cache.get("key")
    with pytest.raises(PickleRefusedError):
        cache.get("key", read=True)
    assert not trace.exists()


def test_a_pickled_key_in_the_database_is_refused(cache: Any, trace: Path) -> None:
    """Listing the keys does not unpickle what somebody wrote as one."""
    cache["key"] = b"value"
    write(cache, "UPDATE Cache SET raw = 0, key = ?", pickle.dumps(Bomb(trace)))
    with pytest.raises(PickleRefusedError):
        list(cache)
    with pytest.raises(PickleRefusedError):
        cache.peekitem()
    assert not trace.exists()


def test_a_finished_file_is_taken_over(cache: Any, tmp_path: Path) -> None:
    """The file itself becomes the value: the same inode under diskcache's random name."""
    path = tmp_path / "finished"
    path.write_bytes(b"blob")
    inode = path.stat().st_ino
    cache["key"] = FinishedFile(path, 4)
    assert not path.exists()
    with cache.get("key", read=True) as file:
        assert file.read() == b"blob"
        assert Path(file.name).stat().st_ino == inode
    assert cache.volume() >= 4


def test_taking_over_a_second_file_removes_the_first(cache: Any, tmp_path: Path) -> None:
    """Setting a key again leaves the new file and only it."""
    for content in (b"first", b"second"):
        path = tmp_path / "finished"
        path.write_bytes(content)
        cache["key"] = FinishedFile(path, len(content))
    assert cache["key"] == b"second"
    assert len(list(Path(cache.directory).glob("??/??/*.val"))) == 1


def test_a_file_that_is_gone_is_an_error(cache: Any, tmp_path: Path) -> None:
    """Nothing is entered for a file that cannot be renamed."""
    with pytest.raises(FileNotFoundError):
        cache["key"] = FinishedFile(tmp_path / "gone", 4)
    assert "key" not in cache


def test_an_unknown_mode_gives_nothing_pickled(cache: Any, trace: Path) -> None:
    """A binary row is given as its bytes, whatever they would unpickle to."""
    bomb = pickle.dumps(Bomb(trace)).ljust(100_000)
    cache["key"] = bomb
    write(cache, "UPDATE Cache SET mode = ?", MODE_BINARY)
    assert cache["key"] == bomb
    assert not trace.exists()

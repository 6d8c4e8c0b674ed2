"""Records on a real disk: written, read again, and what is done where that goes wrong."""

import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from entrepot.observe.database import FILE_NAME, SCHEMA
from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import RecordReader, RecordsUnreadableError
from unit.observe.world import BLOB, DAY, TAG, World


def test_what_is_written_is_read_again(world: World) -> None:
    """Every field of a record, in another process too."""
    odd = replace(
        TAG,
        client="fd00::/64",
        outcome=Outcome.ERROR,
        status=502,
        why="it broke off",
        cut="the client has left",
        sent=2**40,
        from_disk=7,
        from_upstream=2**41,
    )
    world.write(BLOB, odd)
    world.store.close()
    world.begin()
    world.write(TAG)
    assert world.shown() == [BLOB, odd, TAG]


def test_the_file_is_nobody_elses(world: World) -> None:
    """0600, and so are the files beside it."""
    world.write(BLOB)
    modes = {path.name: path.stat().st_mode & 0o777 for path in world.folder.iterdir()}
    assert modes == dict.fromkeys((FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"), 384)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100], ids=["empty", "garbage"])
def test_a_damaged_file_is_set_aside_and_begun_anew(world: World, content: bytes) -> None:
    """With one event, and without losing the record that found it."""
    file = world.folder / FILE_NAME
    file.write_bytes(content)
    world.write(BLOB)
    world.write(TAG)
    assert world.shown() == [BLOB, TAG]
    assert world.events.counts == ({"records_damaged": 1} if content else {})
    if content:
        assert (world.folder / f"{FILE_NAME}.damaged").read_bytes() == content


def test_damage_while_it_runs_is_found(world: World) -> None:
    """Pages overwritten below a running process: the next batch that meets them begins anew."""
    world.write(*[replace(BLOB, reference=f"sha256:{n:064}") for n in range(2000)])
    world.store.close()
    file = world.folder / FILE_NAME
    with file.open("r+b") as pages:
        pages.seek(4096)
        pages.write(os.urandom(file.stat().st_size - 4096))
    world.begin()
    world.write(TAG)
    assert world.shown() == [TAG]
    assert world.events.counts["records_damaged"] == 1


def test_another_versions_database_is_kept_beside(world: World) -> None:
    """Going back to an older version loses nothing of the newer one's records."""
    world.write(BLOB)
    world.store.close()
    with closing(sqlite3.connect(world.folder / FILE_NAME)) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA + 1}")
    world.begin()
    world.write(TAG)
    assert world.shown() == [TAG]
    assert world.events.counts["records_damaged"] == 1


def test_who_holds_the_database_loses_records_and_no_more(world: World) -> None:
    """They are counted; it is tried again after a while, and goes on."""
    world.write(BLOB)
    with closing(sqlite3.connect(world.folder / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        world.write(TAG, TAG)
        world.write(TAG)  # at once: it is known that it is held
        other.execute("ROLLBACK")
    assert world.events.counts == {"records_failed": 1, "records_dropped": 3}
    world.now += 60
    world.write(TAG)
    assert world.shown() == [BLOB, TAG]


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let the kernel refuse what would make a file larger, as a full disk does."""
    import signal  # noqa: PLC0415 for this alone

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_loses_records_and_no_more(world: World) -> None:
    """What was written before is still there, and it goes on when there is room."""
    world.write(BLOB)
    many = [replace(BLOB, reference=f"sha256:{n:064}") for n in range(3000)]
    with no_file_larger_than(256 * 1024):
        world.write(*many)
    assert world.events.counts == {"records_failed": 1, "records_dropped": 3000}
    world.now += 60
    world.write(TAG)
    assert world.shown() == [BLOB, TAG]


def test_a_place_that_takes_no_file(world: World) -> None:
    """A folder in its place, as good as one that is read-only (root may write anywhere)."""
    (world.folder / FILE_NAME).mkdir()
    world.write(BLOB)
    assert world.events.counts == {"records_failed": 1, "records_dropped": 1}
    with pytest.raises(RecordsUnreadableError):
        world.reader.requests()


def test_no_records_yet(world: World) -> None:
    """Who reads before anything was written finds nothing, and makes no file."""
    reader = RecordReader(world.folder)
    assert reader.totals() == {}
    assert list(world.folder.iterdir()) == []
    (world.folder / FILE_NAME).touch()
    assert reader.requests() == [], "the file is there first, its tables a moment later"


def test_old_records_are_dropped(world: World) -> None:
    """After the time of `--record-keep`; sums stay."""
    world.write(*[replace(BLOB, at=world.now - 40 * DAY) for _ in range(5000)], TAG)
    assert world.keep_up() > 2
    assert world.shown() == [TAG]
    assert world.reader.totals()["docker.io", Outcome.HIT].requests == 5001


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A database of at most 1 MiB."""
    world = World(tmp_path_factory.mktemp("small"), size=1024 * 1024)
    yield world
    world.store.close()


def test_the_oldest_make_room(small: World) -> None:
    """`--record-size` bounds what they take, whatever their age; the file does not stay larger."""
    for _ in range(10):
        small.now += 4 * 3600
        small.write(
            *[
                replace(BLOB, at=small.now, repository=f"{small.now}-{n}", reference=f"{n:0200}")
                for n in range(1000)
            ]
        )
    small.keep_up()
    left = small.shown()
    assert 0 < len(left) < 10_000
    assert left[-1].at == small.now
    small.store.close()
    assert (small.folder / FILE_NAME).stat().st_size < 6 * 1024 * 1024
    words = _count(small, "words")
    assert words < 9000  # those of dropped records went too


def _count(world: World, table: str) -> int:
    with closing(sqlite3.connect(world.folder / FILE_NAME)) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return int(count)

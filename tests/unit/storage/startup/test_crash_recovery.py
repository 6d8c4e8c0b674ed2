"""What a kill leaves: looked through after an end without order, and put right."""

import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from entrepot.events.log import Events
from entrepot.storage.errors import StoreError
from entrepot.storage.store import Store
from unit.storage.world import (
    APP,
    DATA,
    DIGEST,
    LIMIT,
    content,
    deliver,
    killed,
    recover,
    rows_of,
    value_files,
    write,
)

T = TypeVar("T")


def test_a_row_without_its_file_is_removed(folder: Path) -> None:
    """A blob whose file is gone is not there, looked through or not, and can be delivered again."""
    with closing(Store(folder, LIMIT)) as store:
        deliver(store, APP)
    value_files(folder)[0].unlink()
    killed(folder)
    with closing(Store(folder, LIMIT)) as store:
        assert content(store, APP) is None
        recover(store)
        assert rows_of(folder) == 0
        assert content(store, APP) is None
        deliver(store, APP)
        assert content(store, APP) == DATA


def test_a_file_without_a_row_is_removed(folder: Path) -> None:
    """A kill between the rename and its row leaves a file that nothing knows."""
    with closing(Store(folder, LIMIT)) as store:
        deliver(store, APP)
    orphan = folder / "blobs" / "ab" / "cd" / f"{'0' * 28}.val"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"renamed, but no row")
    killed(folder)
    with closing(Store(folder, LIMIT)) as store:
        recover(store)
        assert not orphan.exists()
        assert content(store, APP) == DATA


@pytest.mark.parametrize("damaged", [DATA[:-1], b"", DATA + b"x"])
def test_a_file_of_another_length_is_removed_after_a_kill(folder: Path, damaged: bytes) -> None:
    """A file that lost its end in a power cut is never served."""
    with closing(Store(folder, LIMIT)) as store:
        deliver(store, APP)
    value_files(folder)[0].write_bytes(damaged)
    killed(folder)
    with closing(Store(folder, LIMIT)) as store:
        recover(store)
        assert not value_files(folder)
        assert content(store, APP) is None


def test_what_comes_while_it_is_looked_through_stays(folder: Path) -> None:
    """Blobs that are committed, and those that are replaced, between two turns of it."""
    with closing(Store(folder, LIMIT)) as store:
        digests = [deliver(store, APP, bytes([number])) for number in range(3)]
    killed(folder)
    for path in value_files(folder):
        path.write_bytes(b"damaged")
    with closing(Store(folder, LIMIT)) as store:
        turns = itertools.count()

        def turn(function: Callable[[], T]) -> T:
            number = next(turns)
            if number == 1:  # they were seen damaged
                for one in range(3):
                    deliver(store, APP, bytes([one]))
            if number < 4:
                deliver(store, APP, bytes([100 + number]))
            return function()

        store.recover(turn, lambda: None)
        assert [content(store, APP, digest) for digest in digests] == [b"\0", b"\1", b"\2"]
        assert len(value_files(folder)) == rows_of(folder) == 3 + 4


@dataclass
class Log:
    """Events, of which one is counted."""

    events: Events = field(default_factory=Events)

    def looked_through(self, folder: Path) -> bool:
        """Whether a start finds something to look through."""
        before = self.events.counts["store_recovered"]
        with closing(Store(folder, LIMIT, events=self.events)) as store:
            recover(store)
        return self.events.counts["store_recovered"] > before


def test_a_folder_is_looked_through_after_an_end_without_order_only(folder: Path) -> None:
    """Not the first time, and not after an orderly end; else once, however often it is asked."""
    log = Log()
    assert not log.looked_through(folder)
    assert not log.looked_through(folder)
    killed(folder)
    assert log.looked_through(folder)
    assert not log.looked_through(folder)
    with closing(Store(folder, LIMIT)):
        killed_while_open = not (folder / "clean").exists()
    assert killed_while_open


def test_an_end_before_it_was_looked_through_is_none_in_order(folder: Path) -> None:
    """However often it is started and ended meanwhile."""
    Store(folder, LIMIT).close()
    killed(folder)
    Store(folder, LIMIT).close()
    Store(folder, LIMIT).close()
    assert Log().looked_through(folder)


@pytest.mark.parametrize("cache", ["blobs", "index"])
def test_a_database_that_somebody_wrote_to_is_looked_through(folder: Path, cache: str) -> None:
    """Another version, an administrator or a backup: whoever it was after the end."""
    Store(folder, LIMIT).close()
    write(folder / cache, "INSERT INTO Settings VALUES (?, 1)", "somebody")
    assert Log().looked_through(folder)
    path = folder / cache / "cache.db"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    assert Log().looked_through(folder)


def test_damage_that_shows_while_it_runs_is_no_orderly_end(folder: Path) -> None:
    """So the next start reads the database as a whole, and sets it aside."""
    events = Events()
    with closing(Store(folder, LIMIT, events=events)) as store:
        deliver(store, APP)
        write(folder / "blobs", "ALTER TABLE Cache RENAME COLUMN filename TO other")
        with pytest.raises(StoreError):
            store.blobs.find(APP, DIGEST)
    assert not (folder / "clean").exists()
    with closing(Store(folder, LIMIT, events=events)) as store:
        recover(store)
    assert (events.counts["database_damaged"], value_files(folder)) == (1, [])

"""Room on the disk: claimed before bytes are written, made one object at a time."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diskcache
import pytest

from entrepot.disk import SafeDisk
from entrepot.room import Room

KIB = 1024
BLOB = 100 * KIB
LIMIT = 1024 * KIB
_NEVER_CULL = 2**62


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[Any]:
    """A cache of blobs as the store opens it."""
    cache = diskcache.Cache(
        tmp_path / "blobs",
        disk=SafeDisk,
        eviction_policy="least-recently-used",
        size_limit=_NEVER_CULL,
        cull_limit=0,
    )
    yield cache
    cache.close()


@pytest.fixture
def partials(tmp_path: Path) -> Path:
    folder = tmp_path / "partial"
    folder.mkdir()
    return folder


@pytest.fixture
def room(blobs: Any, partials: Path) -> Room:
    return Room(blobs, partials, LIMIT)


def fill(blobs: Any, count: int) -> list[str]:
    """Commit blobs of 100 KiB; their keys, the one used least recently first."""
    keys = [f"blob {number}" for number in range(count)]
    for age, key in enumerate(reversed(keys)):
        blobs.set(key, bytes(BLOB))
        touch(blobs, key, -age)
    return keys


def touch(blobs: Any, key: str, when: float) -> None:
    """Say when a row was used last; a clock may give two uses the same time."""
    with blobs.transact():
        blobs._sql("UPDATE Cache SET access_time = ? WHERE key = ?", (when, key))  # noqa: SLF001


def partial(partials: Path, name: str, size: int, age: float = 0.0) -> Path:
    path = partials / name
    path.write_bytes(bytes(size))
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def test_a_claim_within_the_limit_evicts_nothing(room: Room, blobs: Any, partials: Path) -> None:
    """Where there is room, nothing goes."""
    keys = fill(blobs, 5)
    idle = partial(partials, "idle", BLOB)
    assert room.claim(partials / "new", 2 * BLOB)
    assert list(blobs) == list(reversed(keys))
    assert idle.exists()


@pytest.mark.parametrize(
    ("evicted", "size"), [(0, 50 * KIB), (1, 150 * KIB), (2, 250 * KIB), (5, 550 * KIB)]
)
def test_no_more_goes_than_must(
    room: Room, blobs: Any, partials: Path, evicted: int, size: int
) -> None:
    """Blobs go one at a time, the one used least recently first, until the claim fits."""
    keys = fill(blobs, 9)
    assert room.claim(partials / "new", size)
    assert set(blobs) == set(keys[evicted:])
    assert blobs.volume() + size <= LIMIT


def test_using_a_blob_saves_it(room: Room, blobs: Any, partials: Path) -> None:
    """What was read lately stays, and the next older one goes."""
    keys = fill(blobs, 9)
    assert blobs.get(keys[0]) is not None
    assert room.claim(partials / "new", 150 * KIB)
    assert set(blobs) == {keys[0], *keys[2:]}


@pytest.mark.parametrize("size", [LIMIT + 1, 10 * LIMIT, 2**62])
def test_a_claim_that_can_never_fit_evicts_nothing(
    room: Room, blobs: Any, partials: Path, size: int
) -> None:
    """A blob larger than the limit is refused before anything is sacrificed to it."""
    keys = fill(blobs, 3)
    idle = partial(partials, "idle", BLOB)
    assert not room.claim(partials / "new", size)
    assert set(blobs) == set(keys)
    assert idle.exists()


def test_a_claim_that_the_databases_own_pages_leave_no_room_for_evicts_nothing(
    room: Room, blobs: Any, partials: Path
) -> None:
    """The database takes a few pages of the limit that no eviction gives back."""
    keys = fill(blobs, 3)
    assert not room.claim(partials / "new", LIMIT)
    assert set(blobs) == set(keys)


def test_running_downloads_are_counted_whole(room: Room, blobs: Any, partials: Path) -> None:
    """Two downloads never get the same room, though neither has written a byte."""
    assert room.claim(partials / "one", 6 * BLOB)
    assert not room.claim(partials / "two", 6 * BLOB)
    assert room.claim(partials / "three", 3 * BLOB)
    assert not list(blobs)


def test_room_comes_back_when_a_claim_ends(room: Room, partials: Path) -> None:
    """A released claim is free for the next."""
    assert room.claim(partials / "one", 6 * BLOB)
    room.release(partials / "one")
    assert room.claim(partials / "two", 6 * BLOB)


def test_releasing_what_was_never_claimed_is_harmless(room: Room, partials: Path) -> None:
    """A download that found no room ends as any other."""
    room.release(partials / "none")
    assert room.claim(partials / "one", 6 * BLOB)


def test_claiming_again_changes_the_size(room: Room, partials: Path) -> None:
    """A claim is not added to itself."""
    for size in (5 * BLOB, 6 * BLOB, 7 * BLOB, 2 * BLOB):
        assert room.claim(partials / "one", size)
    assert room.claim(partials / "two", 6 * BLOB)


def test_a_refusal_keeps_the_claim_as_it_was(room: Room, partials: Path) -> None:
    """What was granted stays granted."""
    assert room.claim(partials / "one", 6 * BLOB)
    assert not room.claim(partials / "one", 2 * LIMIT)
    assert not room.claim(partials / "two", 6 * BLOB)


def test_idle_partials_count_and_go_last(room: Room, blobs: Any, partials: Path) -> None:
    """Blobs go before what somebody may still continue."""
    fill(blobs, 4)
    idle = partial(partials, "idle", 4 * BLOB)
    assert room.claim(partials / "new", 4 * BLOB)
    assert idle.exists()
    assert room.claim(partials / "new", 9 * BLOB)
    assert not idle.exists()
    assert not list(blobs)


def test_the_oldest_idle_partial_goes_first(room: Room, partials: Path) -> None:
    """As many partial downloads stay as can."""
    old = partial(partials, "old", 4 * BLOB, age=100)
    new = partial(partials, "new", 4 * BLOB)
    assert room.claim(partials / "next", 4 * BLOB)
    assert not old.exists()
    assert new.exists()


def test_a_running_partial_is_never_removed(room: Room, partials: Path) -> None:
    """What a download is writing stays, however short room is."""
    running = partial(partials, "running", 4 * BLOB)
    assert room.claim(running, 5 * BLOB)
    assert not room.claim(partials / "new", 6 * BLOB)
    assert running.exists()


def test_a_continued_partial_is_not_removed_to_make_its_own_room(
    room: Room, blobs: Any, partials: Path
) -> None:
    """Claiming room for a file that is there already leaves that file."""
    fill(blobs, 1)
    own = partial(partials, "own", 5 * BLOB)
    assert room.claim(own, 9 * BLOB)
    assert own.exists()
    assert not list(blobs)


def test_a_download_that_outgrows_the_limit_is_refused(room: Room, partials: Path) -> None:
    """A body of unknown length claims more as it comes; its own bytes make no room for it."""
    own = partial(partials, "own", 5 * BLOB)
    assert room.claim(own, 6 * BLOB)
    assert not room.claim(own, LIMIT + BLOB)
    assert own.exists()


def test_room_for_a_manifest_is_made_at_once(room: Room, blobs: Any) -> None:
    """``make`` evicts as a claim does, and holds nothing."""
    keys = fill(blobs, 9)
    assert room.make(150 * KIB)
    assert set(blobs) == set(keys[1:])
    assert not room.make(2 * LIMIT)


def test_more_than_the_disk_has_is_refused(blobs: Any, partials: Path) -> None:
    """The limit may be larger than the disk; the free space bounds it too."""
    keys = fill(blobs, 2)
    room = Room(blobs, partials, 2**62)
    assert not room.claim(partials / "new", shutil.disk_usage(partials).free)
    assert set(blobs) == set(keys)


def test_what_other_downloads_will_still_write_is_not_free(blobs: Any, partials: Path) -> None:
    """Free space that a running download has claimed is counted once."""
    room = Room(blobs, partials, 2**62)
    most = shutil.disk_usage(partials).free * 6 // 10
    assert room.claim(partials / "one", most)
    assert not room.claim(partials / "two", most)

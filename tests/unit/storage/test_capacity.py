"""Room on the disk: claimed as bytes come, made one object at a time, partials first."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from entrepot.storage.capacity import Fit, Room
from entrepot.storage.diskcache_db.database import bytes_in_rows, open_cache

KIB = 1024
BLOB = 100 * KIB
LIMIT = 1024 * KIB
ALLOWANCE = LIMIT // 8


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[Any]:
    """A cache of blobs as the store opens it."""
    cache, _ = open_cache(tmp_path / "blobs", "least-recently-used")
    yield cache
    cache.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def partials(tmp_path: Path) -> Path:
    folder = tmp_path / "partial"
    folder.mkdir()
    return folder


@pytest.fixture
def room(blobs: Any, partials: Path, clock: Clock) -> Room:
    return Room(blobs, partials, LIMIT, steady=clock)


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


def partial(room: Room, partials: Path, name: str, size: int) -> Path:
    """An unfinished download that nobody continues, of just now."""
    path = partials / name
    path.write_bytes(bytes(size))
    room.release(path)
    return path


def draft(room: Room, partials: Path, name: str, end: int) -> bool:
    """Claim room for a draft, and write it."""
    path = partials / f"push-{name}"
    granted = room.draft(path, end, lambda: LOST.append(name))
    if granted:
        path.write_bytes(bytes(end))
    return granted


LOST: list[str] = []


@pytest.fixture(autouse=True)
def lost() -> list[str]:
    """The drafts that gave way."""
    LOST.clear()
    return LOST


def test_a_claim_within_the_limit_evicts_nothing(room: Room, blobs: Any, partials: Path) -> None:
    """Where there is room, nothing goes."""
    keys = fill(blobs, 5)
    idle = partial(room, partials, "idle", BLOB)
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
    idle = partial(room, partials, "idle", BLOB)
    assert room.admit(partials / "new", size) is Fit.NEVER
    assert not room.claim(partials / "new", size)
    assert set(blobs) == set(keys)
    assert idle.exists()


def test_a_claim_that_the_databases_own_pages_leave_no_room_for_evicts_nothing(
    room: Room, blobs: Any, partials: Path
) -> None:
    """The database takes a few pages of the limit that no eviction gives back."""
    keys = fill(blobs, 3)
    assert room.admit(partials / "new", LIMIT) is Fit.NEVER
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
    for size in (5 * BLOB, 6 * BLOB, 7 * BLOB):
        assert room.claim(partials / "one", size)
    assert not room.claim(partials / "two", 3 * BLOB)
    assert room.claim(partials / "two", 2 * BLOB)


def test_a_refusal_keeps_the_claim_as_it_was(room: Room, partials: Path) -> None:
    """What was granted stays granted."""
    assert room.claim(partials / "one", 6 * BLOB)
    assert not room.claim(partials / "one", 2 * LIMIT)
    assert not room.claim(partials / "two", 6 * BLOB)


def test_idle_partials_count_and_go_first(room: Room, blobs: Any, partials: Path) -> None:
    """What nobody continues goes before what was verified and may be asked for."""
    keys = fill(blobs, 4)
    idle = partial(room, partials, "idle", 4 * BLOB)
    assert room.claim(partials / "new", 4 * BLOB)
    assert not idle.exists()
    assert set(blobs) == set(keys)
    assert room.claim(partials / "new", 9 * BLOB)
    assert not list(blobs)


def test_the_oldest_idle_partial_goes_first(blobs: Any, partials: Path) -> None:
    """As many partial downloads stay as can, those of an earlier process by their age."""
    for age, name in ((0, "new"), (100, "old")):
        (partials / name).write_bytes(bytes(4 * BLOB))
        os.utime(partials / name, (1e9 - age, 1e9 - age))
    room = Room(blobs, partials, LIMIT)
    assert room.claim(partials / "next", 4 * BLOB)
    assert [path.name for path in partials.iterdir()] == ["new"]


def test_a_running_partial_is_never_removed(room: Room, partials: Path) -> None:
    """What a download is to continue stays, however short room is."""
    running = partial(room, partials, "running", 4 * BLOB)
    room.hold(running)
    assert not room.claim(partials / "new", 7 * BLOB)
    assert running.exists()
    room.release(running)
    assert room.claim(partials / "new", 7 * BLOB)
    assert not running.exists()


def test_a_continued_partial_is_not_removed_to_make_its_own_room(
    room: Room, blobs: Any, partials: Path
) -> None:
    """Claiming room for a file that is there already leaves that file."""
    fill(blobs, 1)
    own = partial(room, partials, "own", 5 * BLOB)
    assert room.admit(own, 9 * BLOB) is Fit.YES
    assert room.claim(own, 9 * BLOB, 5 * BLOB)
    assert own.exists()
    assert not list(blobs)


def test_a_download_that_outgrows_the_limit_is_refused(room: Room, partials: Path) -> None:
    """A body of unknown length claims more as it comes; its own bytes make no room for it."""
    own = partial(room, partials, "own", 5 * BLOB)
    assert room.claim(own, 6 * BLOB, 5 * BLOB)
    assert not room.claim(own, LIMIT + BLOB, 6 * BLOB)
    assert own.exists()


# What is only announced


def test_what_is_announced_evicts_nothing(room: Room, blobs: Any, partials: Path) -> None:
    """Objects go for bytes that have come, and for a quarter of those more."""
    keys = fill(blobs, 9)
    assert room.admit(partials / "new", 9 * BLOB) is Fit.YES
    assert set(blobs) == set(keys)
    for end in range(0, 4 * BLOB, 20 * KIB):
        (partials / "new").write_bytes(bytes(end))
        assert room.claim(partials / "new", end + 20 * KIB, end)
        gone = (9 - len(blobs)) * BLOB
        assert gone <= 5 * end // 4 + BLOB


def test_a_claim_goes_ahead_where_nobody_must_go_for_it(blobs: Any, partials: Path) -> None:
    """Not each few bytes need a claim; but none is for more than is announced."""
    room = Room(blobs, partials, 2**40)
    assert room.admit(partials / "new", 40 * KIB**2) is Fit.YES
    granted = room.claim(partials / "new", KIB)
    assert KIB**2 < granted <= 17 * KIB**2
    assert room.claim(partials / "new", 39 * KIB**2, 38 * KIB**2) == 40 * KIB**2


def test_a_download_that_does_not_move_gives_way(room: Room, partials: Path, clock: Clock) -> None:
    """Of its announced size counts what it brings in a minute at its pace."""
    assert room.admit(partials / "drips", 9 * BLOB) is Fit.YES
    assert room.admit(partials / "one", 9 * BLOB) is Fit.YES
    room.release(partials / "one")
    clock.now += 10
    assert room.claim(partials / "drips", BLOB)  # 600 KiB in a minute, so far
    (partials / "drips").write_bytes(bytes(BLOB))
    assert room.claim(partials / "drips", BLOB + KIB, BLOB)
    assert room.admit(partials / "one", 5 * BLOB) is Fit.NOT_NOW
    clock.now += 600
    assert room.admit(partials / "one", 5 * BLOB) is Fit.YES


def test_where_the_others_leave_no_room_it_is_known_at_once(room: Room, partials: Path) -> None:
    """A download that cannot fit beside those that run need not begin."""
    assert room.claim(partials / "one", 6 * BLOB)
    assert room.admit(partials / "two", 6 * BLOB) is Fit.NOT_NOW
    room.release(partials / "one")
    assert room.admit(partials / "two", 6 * BLOB) is Fit.YES


def test_a_body_without_an_end_that_nobody_waits_for_evicts_no_object(
    room: Room, blobs: Any, partials: Path
) -> None:
    """It may have what is free, and what nobody continues."""
    keys = fill(blobs, 4)
    idle = partial(room, partials, "idle", 5 * BLOB)
    assert room.admit(partials / "new", None) is Fit.YES
    assert room.claim(partials / "new", 5 * BLOB, evict=False)
    assert not idle.exists()
    assert not room.claim(partials / "new", 7 * BLOB, 5 * BLOB, evict=False)
    assert set(blobs) == set(keys)
    assert room.claim(partials / "new", 7 * BLOB, 5 * BLOB)


# Drafts


def test_a_draft_evicts_nothing(room: Room, blobs: Any, partials: Path) -> None:
    """It may take what is free, and an eighth of the limit more."""
    keys = fill(blobs, 9)
    idle = partial(room, partials, "idle", 40 * KIB)
    assert not draft(room, partials, "one", 4 * BLOB)
    assert draft(room, partials, "two", ALLOWANCE)
    assert not draft(room, partials, "three", BLOB)
    assert set(blobs) == set(keys)
    assert idle.exists()


def test_what_a_draft_may_take_above_the_limit_is_bounded(
    room: Room, partials: Path, blobs: Any
) -> None:
    """The file of an empty cache is the limit's and an eighth of it; no announced size is more."""
    most = LIMIT + ALLOWANCE - int(blobs.volume())
    assert not room.draft(partials / "push-x", KIB, lambda: None, LIMIT + 1)
    assert not draft(room, partials, "all", LIMIT + 1)
    assert draft(room, partials, "one", LIMIT - BLOB)
    assert not draft(room, partials, "two", most - LIMIT + BLOB + 1)
    assert draft(room, partials, "two", most - LIMIT + BLOB)


def test_the_draft_that_rested_longest_gives_way(
    room: Room, blobs: Any, partials: Path, clock: Clock, lost: list[str]
) -> None:
    """One that rests costs no other its place; one that moves stays."""
    fill(blobs, 9)
    for name in ("a", "b", "c"):
        assert draft(room, partials, name, 60 * KIB)
        clock.now += 4
    assert not draft(room, partials, "d", 110 * KIB)
    assert lost == []
    assert draft(room, partials, "d", 60 * KIB)
    assert lost == ["a"]
    clock.now += 4
    assert draft(room, partials, "c", 120 * KIB)
    assert lost == ["a", "b"]
    assert {path.name for path in partials.iterdir()} == {"push-c", "push-d"}


def test_a_pull_takes_nothing_of_the_drafts_for_itself(
    room: Room, blobs: Any, partials: Path, lost: list[str]
) -> None:
    """Drafts beyond what they may have go before an object does."""
    keys = fill(blobs, 3)
    assert draft(room, partials, "a", 3 * BLOB)
    assert draft(room, partials, "b", BLOB)
    assert room.claim(partials / "new", 5 * BLOB)
    assert lost == ["a"]
    assert set(blobs) == set(keys)
    assert room.claim(partials / "new", 7 * BLOB, 5 * BLOB)
    assert lost == ["a"]
    assert len(blobs) < 3


def test_what_the_registry_took_in_gets_room_as_any_object(
    room: Room, blobs: Any, partials: Path, clock: Clock, lost: list[str]
) -> None:
    """From then on it does not give way."""
    keys = fill(blobs, 9)
    path = partials / "push-a"
    assert draft(room, partials, "a", BLOB)
    room.keep(path)
    clock.now += 60
    assert not draft(room, partials, "b", 2 * BLOB)
    assert lost == []
    assert room.adopt(path)
    assert set(blobs) == set(keys[1:])
    path.unlink()
    room.release(path)
    assert draft(room, partials, "b", BLOB)


def test_what_the_registry_took_in_is_not_kept_where_downloads_have_all(
    room: Room, partials: Path
) -> None:
    """What runs is not ended for it."""
    assert draft(room, partials, "a", 2 * BLOB)
    room.keep(partials / "push-a")
    assert room.claim(partials / "new", 9 * BLOB)
    assert not room.adopt(partials / "push-a")


# Manifests, and the disk


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
    free = shutil.disk_usage(partials).free
    assert room.admit(partials / "new", free) is Fit.NEVER
    assert not room.claim(partials / "new", free)
    assert not room.draft(partials / "push-x", free, lambda: None)
    assert set(blobs) == set(keys)


def test_what_other_downloads_will_still_write_is_not_free(blobs: Any, partials: Path) -> None:
    """Free space that a running download has claimed is counted once."""
    room = Room(blobs, partials, 2**62)
    most = shutil.disk_usage(partials).free * 6 // 10
    assert room.claim(partials / "one", most)
    assert not room.claim(partials / "two", most)


# What the database counts


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

"""What gives way, and in which order: no more than must."""

import os
from pathlib import Path
from typing import Any

import pytest

from entrepot.storage.store import Store
from unit.storage.capacity.world import (
    BLOB,
    KIB,
    LIMIT,
    Room,
    draft,
    fill,
    partial,
    room_in,
)
from unit.storage.world import APP, content, deliver


@pytest.mark.parametrize(
    ("evicted", "size"), [(0, 50 * KIB), (1, 150 * KIB), (2, 250 * KIB), (5, 550 * KIB)]
)
def test_no_more_goes_than_must(
    room: Room, blobs: Any, partials: Path, evicted: int, size: int
) -> None:
    """Blobs go one at a time, the one used least recently first, until the claim fits."""
    keys = fill(blobs, 9)
    assert room.downloads.claim(partials / "new", size)
    assert set(blobs) == set(keys[evicted:])
    assert blobs.volume() + size <= LIMIT


def test_using_a_blob_saves_it(room: Room, blobs: Any, partials: Path) -> None:
    """What was read lately stays, and the next older one goes."""
    keys = fill(blobs, 9)
    assert blobs.get(keys[0]) is not None
    assert room.downloads.claim(partials / "new", 150 * KIB)
    assert set(blobs) == {keys[0], *keys[2:]}


def test_idle_partials_count_and_go_first(room: Room, blobs: Any, partials: Path) -> None:
    """What nobody continues goes before what was verified and may be asked for."""
    keys = fill(blobs, 4)
    idle = partial(room, partials, "idle", 4 * BLOB)
    assert room.downloads.claim(partials / "new", 4 * BLOB)
    assert not idle.exists()
    assert set(blobs) == set(keys)
    assert room.downloads.claim(partials / "new", 9 * BLOB)
    assert not list(blobs)


def test_the_oldest_idle_partial_goes_first(blobs: Any, partials: Path) -> None:
    """As many partial downloads stay as can, those of an earlier process by their age."""
    for age, name in ((0, "new"), (100, "old")):
        (partials / name).write_bytes(bytes(4 * BLOB))
        os.utime(partials / name, (1e9 - age, 1e9 - age))
    room = room_in(blobs, partials, LIMIT)
    assert room.downloads.claim(partials / "next", 4 * BLOB)
    assert [path.name for path in partials.iterdir()] == ["new"]


def test_a_running_partial_is_never_removed(room: Room, partials: Path) -> None:
    """What a download is to continue stays, however short room is."""
    running = partial(room, partials, "running", 4 * BLOB)
    room.downloads.hold(running)
    assert not room.downloads.claim(partials / "new", 7 * BLOB)
    assert running.exists()
    room.downloads.release(running)
    assert room.downloads.claim(partials / "new", 7 * BLOB)
    assert not running.exists()


def test_a_pull_takes_nothing_of_the_drafts_for_itself(
    room: Room, blobs: Any, partials: Path, lost: list[str]
) -> None:
    """Drafts beyond what they may have go before an object does."""
    keys = fill(blobs, 3)
    assert draft(room, partials, "a", 3 * BLOB)
    assert draft(room, partials, "b", BLOB)
    assert room.downloads.claim(partials / "new", 5 * BLOB)
    assert lost == ["a"]
    assert set(blobs) == set(keys)
    assert room.downloads.claim(partials / "new", 7 * BLOB, 5 * BLOB)
    assert lost == ["a"]
    assert len(blobs) < 3


def test_room_for_a_manifest_is_made_at_once(room: Room, blobs: Any) -> None:
    """``make`` evicts as a claim does, and holds nothing."""
    keys = fill(blobs, 9)
    assert room.eviction.make_room(150 * KIB)
    assert set(blobs) == set(keys[1:])
    assert not room.eviction.make_room(2 * LIMIT)


# In a whole store


def test_the_least_recently_used_blob_makes_room(store: Store) -> None:
    """A blob that was read stays; the other is gone for its repository as well."""
    old, used = (deliver(store, APP, bytes([n]) * (4 * 1024**2)) for n in (1, 2))
    assert content(store, APP, old) is not None
    assert content(store, APP, used) is not None
    assert store.downloads.claim(store.partials.folder / "new", 5 * 1024**2)
    assert content(store, APP, old) is None
    assert content(store, APP, used) is not None


def test_an_evicted_blob_can_be_read_to_its_end(store: Store) -> None:
    """A transfer that has begun is not cut by an eviction."""
    big = bytes(5 * 1024**2)
    digest = deliver(store, APP, big)
    found = store.blobs.find(APP, digest)
    assert found is not None
    assert store.downloads.claim(store.partials.folder / "new", 6 * 1024**2)
    assert content(store, APP, digest) is None
    assert os.pread(found.file, len(big), 0) == big
    os.close(found.file)

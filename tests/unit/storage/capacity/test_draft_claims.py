"""Drafts: they evict nothing before the registry has taken the bytes."""

from pathlib import Path
from typing import Any

from unit.storage.capacity.world import (
    ALLOWANCE,
    BLOB,
    KIB,
    LIMIT,
    Room,
    draft,
    fill,
    partial,
)
from unit.storage.world import Clock


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
    assert not room.drafts.claim(partials / "push-x", KIB, lambda: None, LIMIT + 1)
    assert not draft(room, partials, "all", LIMIT + 1)
    assert draft(room, partials, "one", LIMIT - BLOB)
    assert not draft(room, partials, "two", most - LIMIT + BLOB + 1)
    assert draft(room, partials, "two", most - LIMIT + BLOB)


def test_the_draft_that_rested_longest_gives_way(
    room: Room, blobs: Any, partials: Path, steady: Clock, lost: list[str]
) -> None:
    """One that rests costs no other its place; one that moves stays."""
    fill(blobs, 9)
    for name in ("a", "b", "c"):
        assert draft(room, partials, name, 60 * KIB)
        steady.now += 4
    assert not draft(room, partials, "d", 110 * KIB)
    assert lost == []
    assert draft(room, partials, "d", 60 * KIB)
    assert lost == ["a"]
    steady.now += 4
    assert draft(room, partials, "c", 120 * KIB)
    assert lost == ["a", "b"]
    assert {path.name for path in partials.iterdir()} == {"push-c", "push-d"}


def test_what_the_registry_took_in_gets_room_as_any_object(
    room: Room, blobs: Any, partials: Path, steady: Clock, lost: list[str]
) -> None:
    """From then on it does not give way."""
    keys = fill(blobs, 9)
    path = partials / "push-a"
    assert draft(room, partials, "a", BLOB)
    room.drafts.keep(path)
    steady.now += 60
    assert not draft(room, partials, "b", 2 * BLOB)
    assert lost == []
    assert room.drafts.adopt(path)
    assert set(blobs) == set(keys[1:])
    path.unlink()
    room.drafts.release(path)
    assert draft(room, partials, "b", BLOB)


def test_what_the_registry_took_in_is_not_kept_where_downloads_have_all(
    room: Room, partials: Path
) -> None:
    """What runs is not ended for it."""
    assert draft(room, partials, "a", 2 * BLOB)
    room.drafts.keep(partials / "push-a")
    assert room.downloads.claim(partials / "new", 9 * BLOB)
    assert not room.drafts.adopt(partials / "push-a")

"""Downloads claim their bytes as they come; what is only announced evicts nothing."""

from pathlib import Path
from typing import Any

import pytest

from entrepot.storage.capacity.download_claims import Fit
from unit.storage.capacity.world import BLOB, KIB, LIMIT, Room, fill, partial, room_in
from unit.storage.world import Clock


def test_a_claim_within_the_limit_evicts_nothing(room: Room, blobs: Any, partials: Path) -> None:
    """Where there is room, nothing goes."""
    keys = fill(blobs, 5)
    idle = partial(room, partials, "idle", BLOB)
    assert room.downloads.claim(partials / "new", 2 * BLOB)
    assert list(blobs) == list(reversed(keys))
    assert idle.exists()


@pytest.mark.parametrize("size", [LIMIT + 1, 10 * LIMIT, 2**62])
def test_a_claim_that_can_never_fit_evicts_nothing(
    room: Room, blobs: Any, partials: Path, size: int
) -> None:
    """A blob larger than the limit is refused before anything is sacrificed to it."""
    keys = fill(blobs, 3)
    idle = partial(room, partials, "idle", BLOB)
    assert room.downloads.admit(partials / "new", size) is Fit.NEVER
    assert not room.downloads.claim(partials / "new", size)
    assert set(blobs) == set(keys)
    assert idle.exists()


def test_running_downloads_are_counted_whole(room: Room, blobs: Any, partials: Path) -> None:
    """Two downloads never get the same room, though neither has written a byte."""
    assert room.downloads.claim(partials / "one", 6 * BLOB)
    assert not room.downloads.claim(partials / "two", 6 * BLOB)
    assert room.downloads.claim(partials / "three", 3 * BLOB)
    assert not list(blobs)


def test_room_comes_back_when_a_claim_ends(room: Room, partials: Path) -> None:
    """A released claim is free for the next."""
    assert room.downloads.claim(partials / "one", 6 * BLOB)
    room.downloads.release(partials / "one")
    assert room.downloads.claim(partials / "two", 6 * BLOB)


def test_releasing_what_was_never_claimed_is_harmless(room: Room, partials: Path) -> None:
    """A download that found no room ends as any other."""
    room.downloads.release(partials / "none")
    assert room.downloads.claim(partials / "one", 6 * BLOB)


def test_claiming_again_changes_the_size(room: Room, partials: Path) -> None:
    """A claim is not added to itself."""
    for size in (5 * BLOB, 6 * BLOB, 7 * BLOB):
        assert room.downloads.claim(partials / "one", size)
    assert not room.downloads.claim(partials / "two", 3 * BLOB)
    assert room.downloads.claim(partials / "two", 2 * BLOB)


def test_a_refusal_keeps_the_claim_as_it_was(room: Room, partials: Path) -> None:
    """What was granted stays granted."""
    assert room.downloads.claim(partials / "one", 6 * BLOB)
    assert not room.downloads.claim(partials / "one", 2 * LIMIT)
    assert not room.downloads.claim(partials / "two", 6 * BLOB)


def test_a_continued_partial_is_not_removed_to_make_its_own_room(
    room: Room, blobs: Any, partials: Path
) -> None:
    """Claiming room for a file that is there already leaves that file."""
    fill(blobs, 1)
    own = partial(room, partials, "own", 5 * BLOB)
    assert room.downloads.admit(own, 9 * BLOB) is Fit.YES
    assert room.downloads.claim(own, 9 * BLOB, 5 * BLOB)
    assert own.exists()
    assert not list(blobs)


def test_a_download_that_outgrows_the_limit_is_refused(room: Room, partials: Path) -> None:
    """A body of unknown length claims more as it comes; its own bytes make no room for it."""
    own = partial(room, partials, "own", 5 * BLOB)
    assert room.downloads.claim(own, 6 * BLOB, 5 * BLOB)
    assert not room.downloads.claim(own, LIMIT + BLOB, 6 * BLOB)
    assert own.exists()


def test_what_is_announced_evicts_nothing(room: Room, blobs: Any, partials: Path) -> None:
    """Objects go for bytes that have come, and for a quarter of those more."""
    keys = fill(blobs, 9)
    assert room.downloads.admit(partials / "new", 9 * BLOB) is Fit.YES
    assert set(blobs) == set(keys)
    for end in range(0, 4 * BLOB, 20 * KIB):
        (partials / "new").write_bytes(bytes(end))
        assert room.downloads.claim(partials / "new", end + 20 * KIB, end)
        gone = (9 - len(blobs)) * BLOB
        assert gone <= 5 * end // 4 + BLOB


def test_a_claim_goes_ahead_where_nobody_must_go_for_it(blobs: Any, partials: Path) -> None:
    """Not each few bytes need a claim; but none is for more than is announced."""
    room = room_in(blobs, partials, 2**40)
    assert room.downloads.admit(partials / "new", 40 * KIB**2) is Fit.YES
    granted = room.downloads.claim(partials / "new", KIB)
    assert KIB**2 < granted <= 17 * KIB**2
    assert room.downloads.claim(partials / "new", 39 * KIB**2, 38 * KIB**2) == 40 * KIB**2


def test_a_download_that_does_not_move_gives_way(room: Room, partials: Path, steady: Clock) -> None:
    """Of its announced size counts what it brings in a minute at its pace."""
    assert room.downloads.admit(partials / "drips", 9 * BLOB) is Fit.YES
    assert room.downloads.admit(partials / "one", 9 * BLOB) is Fit.YES
    room.downloads.release(partials / "one")
    steady.now += 10
    assert room.downloads.claim(partials / "drips", BLOB)  # 600 KiB in a minute, so far
    (partials / "drips").write_bytes(bytes(BLOB))
    assert room.downloads.claim(partials / "drips", BLOB + KIB, BLOB)
    assert room.downloads.admit(partials / "one", 5 * BLOB) is Fit.NOT_NOW
    steady.now += 600
    assert room.downloads.admit(partials / "one", 5 * BLOB) is Fit.YES


def test_where_the_others_leave_no_room_it_is_known_at_once(room: Room, partials: Path) -> None:
    """A download that cannot fit beside those that run need not begin."""
    assert room.downloads.claim(partials / "one", 6 * BLOB)
    assert room.downloads.admit(partials / "two", 6 * BLOB) is Fit.NOT_NOW
    room.downloads.release(partials / "one")
    assert room.downloads.admit(partials / "two", 6 * BLOB) is Fit.YES


def test_a_body_without_an_end_that_nobody_waits_for_evicts_no_object(
    room: Room, blobs: Any, partials: Path
) -> None:
    """It may have what is free, and what nobody continues."""
    keys = fill(blobs, 4)
    idle = partial(room, partials, "idle", 5 * BLOB)
    assert room.downloads.admit(partials / "new", None) is Fit.YES
    assert room.downloads.claim(partials / "new", 5 * BLOB, evict=False)
    assert not idle.exists()
    assert not room.downloads.claim(partials / "new", 7 * BLOB, 5 * BLOB, evict=False)
    assert set(blobs) == set(keys)
    assert room.downloads.claim(partials / "new", 7 * BLOB, 5 * BLOB)

"""The file of a map: what it says to whom, and what is made of one that anything was written to."""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.intervals import Intervals
from entrepot.storage.partials.map_file import (
    MOST_SLOTS,
    Said,
    boot_id,
    discard,
    forget_map,
    map_of,
    mapped_by,
    mark_of,
    read_map,
    seed_of,
    write_anew,
    write_slot,
)

BOOT, OTHER_BOOT = b"b" * 16, b"o" * 16
SLOT = 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sha256-0123.part"


def _write(path: Path, durable: Intervals, others: Intervals) -> None:
    file, _ = write_anew(path, BOOT, durable, others)
    os.close(file)


def test_a_map_says_what_was_written_into_it(path: Path) -> None:
    """All of it in the same boot, and what was on the disk in another one."""
    _write(path, Intervals([(0, 5)]), Intervals([(7, 9), (2**60, 2**61)]))
    assert read_map(path, BOOT) == Said([(0, 5), (7, 9), (2**60, 2**61)], [(0, 5)])
    assert read_map(path, OTHER_BOOT) == Said([(0, 5)], [(0, 5)])
    assert stat.S_IMODE(map_of(path).stat().st_mode) == 0o600
    assert [left.name for left in path.parent.iterdir()] == ["sha256-0123.part.ranges"]


def test_the_last_mark_counts(path: Path) -> None:
    """For as many slots as it says, and none that come after it."""
    file, slots = write_anew(path, BOOT, Intervals(), Intervals([(0, 5)]))
    write_slot(file, slots, mark_of(2), seed_of(BOOT))
    write_slot(file, slots + 1, (10, 20), seed_of(BOOT))
    write_slot(file, slots + 2, mark_of(10**6), seed_of(BOOT))  # of slots that are not there
    os.close(file)
    assert read_map(path, OTHER_BOOT) == Said([(0, 5)], [(0, 5)])
    assert read_map(path, BOOT) == Said([(0, 5), (10, 20)], [(0, 5)])


def test_there_is_none(path: Path) -> None:
    """That is said apart from one which covers nothing."""
    assert read_map(path, BOOT) is None


@pytest.mark.parametrize("cut", range(SLOT + 1, 4 * SLOT))
def test_a_torn_end_takes_its_own_slot_along(path: Path, cut: int) -> None:
    """Those before it stay."""
    _write(path, Intervals(), Intervals([(0, 1), (2, 3)]))
    os.truncate(map_of(path), cut)
    slots = cut // SLOT - 1  # the first of which is the mark
    assert read_map(path, BOOT) == Said([(0, 1), (2, 3)][: max(0, slots - 1)], [])


@pytest.mark.parametrize("at", range(4 * SLOT))
def test_a_wrong_byte_is_never_a_wrong_interval(path: Path, at: int) -> None:
    """One in a slot makes that one be none, one in the head all."""
    _write(path, Intervals([(0, 1)]), Intervals([(2, 3)]))
    content = bytearray(map_of(path).read_bytes())
    content[at] ^= 1
    map_of(path).write_bytes(content)
    said = read_map(path, BOOT)
    assert said is not None
    whole, slot = {(0, 1), (2, 3)}, at // SLOT
    lost: set[tuple[int, int]] = {1: {(0, 1)}, 2: set(), 3: {(2, 3)}}.get(slot, whole)
    assert set(said.spans) == whole - lost


@given(st.binary(max_size=300))
def test_anything_may_be_in_it(content: bytes) -> None:
    """Nothing of it is believed, and nothing raised."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.part"
        map_of(path).write_bytes(content)
        assert read_map(path, BOOT) == Said([], [])


def test_gigabytes_of_it_are_not_read(path: Path) -> None:
    """No more than a map has, whoever made the file so long."""
    _write(path, Intervals(), Intervals([(0, 1)]))
    os.truncate(map_of(path), 64 * 1024**3)
    assert read_map(path, BOOT) == Said([(0, 1)], [])
    file = os.open(map_of(path), os.O_WRONLY)
    write_slot(file, MOST_SLOTS - 1, (5, 6), seed_of(BOOT))
    write_slot(file, MOST_SLOTS, (7, 8), seed_of(BOOT))
    os.close(file)
    assert read_map(path, BOOT) == Said([(0, 1), (5, 6)], [])


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda at: at.symlink_to("/dev/zero")])
def test_what_is_no_file_covers_nothing(path: Path, make: Callable[[Path], None]) -> None:
    """And nobody waits at it."""
    make(map_of(path))
    assert read_map(path, BOOT) == Said([], [])


def test_a_map_that_cannot_be_written_leaves_no_half_of_one(path: Path) -> None:
    """Nor does a kill: what it left is written over."""
    map_of(path).mkdir()
    with pytest.raises(IsADirectoryError):
        _write(path, Intervals(), Intervals([(0, 1)]))
    assert list(path.parent.iterdir()) == [map_of(path)]
    map_of(path).rmdir()
    half = path.with_name(map_of(path).name + ".new")
    half.write_bytes(b"of a kill")
    _write(path, Intervals(), Intervals([(5, 6)]))
    assert read_map(path, BOOT) == Said([(5, 6)], [])
    assert not half.exists()


def test_a_map_is_known_by_its_name(path: Path) -> None:
    """And so is the one that a kill left half written."""
    assert mapped_by(map_of(path)) == path
    assert mapped_by(map_of(path).with_name(map_of(path).name + ".new")) == path
    assert mapped_by(path) is None


def test_a_file_goes_with_its_map(path: Path) -> None:
    """Whichever of them is there."""
    for names in ((), (path,), (map_of(path),), (path, map_of(path))):
        for name in names:
            name.touch()
        discard(path)
        assert not list(path.parent.iterdir())
    path.touch()
    map_of(path).touch()
    forget_map(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_boot_has_a_name(tmp_path: Path) -> None:
    """The kernel's; where it says none, no boot is like another."""
    assert boot_id() == boot_id()
    assert len(boot_id()) == 16
    missing, odd = tmp_path / "missing", tmp_path / "odd"
    odd.write_text("0123")
    for file in (missing, odd):
        assert len(boot_id(file)) == 16
        assert boot_id(file) != boot_id(file)

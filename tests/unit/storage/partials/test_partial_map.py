"""The map of a sparse download: what is known again after a kill, a reboot, and worse."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrepot.intervals import Intervals
from entrepot.storage.partials import partial_map
from entrepot.storage.partials.map_file import MOST_SLOTS, forget_map, map_of
from entrepot.storage.partials.partial_map import PartialMap, bytes_held, covered_by

BOOT, OTHER_BOOT = b"b" * 16, b"o" * 16
KIB, MIB, GIB = 1024, 1024**2, 1024**3
BLOCK = 64 * KIB
"""What no file system makes a smaller hole of."""


class Sparse:
    """A sparse file that is written, and its map."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.map = PartialMap.create(path, boot=BOOT)

    def write(self, start: int, stop: int) -> None:
        os.pwrite(self.file, os.urandom(stop - start), start)
        self.map.note(start, stop)

    def killed(self, boot: bytes = BOOT) -> list[tuple[int, int]]:
        """What is known after a kill, or in another boot."""
        return list(covered_by(self.path, self.file, boot))

    def go_on(self, boot: bytes = BOOT) -> None:
        """Have another process go on with it."""
        self.map.close()
        resumed = PartialMap.resume(self.path, self.file, boot)
        assert resumed is not None
        self.map = resumed

    def close(self) -> None:
        self.map.close()
        os.close(self.file)


@pytest.fixture
def sparse(tmp_path: Path) -> Iterator[Sparse]:
    sparse = Sparse(tmp_path / "blob.part")
    yield sparse
    sparse.close()


def test_what_was_written_is_known_after_a_kill(sparse: Sparse) -> None:
    """At whatever place, however it grew, without an end in order."""
    sparse.write(4 * BLOCK, 5 * BLOCK)
    sparse.write(0, 100)
    sparse.write(100, 200)
    sparse.write(5 * BLOCK, 5 * BLOCK + 1)
    assert sparse.killed() == [(0, 200), (4 * BLOCK, 5 * BLOCK + 1)]
    assert map_of(sparse.path).stat().st_size == 32 * 4  # the head, a mark, and two that grew


def test_another_boot_knows_what_was_put_on_the_disk(sparse: Sparse) -> None:
    """What came after that is asked for again, the growth of what came before too."""
    sparse.write(0, BLOCK)
    assert sparse.killed(OTHER_BOOT) == []
    sparse.map.sync(sparse.file)
    sparse.write(BLOCK, 2 * BLOCK)
    sparse.write(8 * BLOCK, 9 * BLOCK)
    assert sparse.killed(OTHER_BOOT) == [(0, BLOCK)]
    assert sparse.killed() == [(0, 2 * BLOCK), (8 * BLOCK, 9 * BLOCK)]
    sparse.map.sync(sparse.file)
    assert sparse.killed(OTHER_BOOT) == sparse.killed()


def test_it_goes_on_in_another_process(sparse: Sparse) -> None:
    """What was on the disk still is, in that boot and the next."""
    sparse.write(0, BLOCK)
    sparse.map.sync(sparse.file)
    sparse.write(4 * BLOCK, 5 * BLOCK)
    sparse.go_on()
    sparse.write(5 * BLOCK, 6 * BLOCK)
    assert sparse.killed() == [(0, BLOCK), (4 * BLOCK, 6 * BLOCK)]
    assert sparse.killed(OTHER_BOOT) == [(0, BLOCK)]
    sparse.go_on(OTHER_BOOT)
    assert list(sparse.map.covered) == [(0, BLOCK)]
    sparse.write(BLOCK, BLOCK + 5)
    assert sparse.killed(OTHER_BOOT) == [(0, BLOCK + 5)]
    assert sparse.killed(b"a third boot ...") == [(0, BLOCK)]


def test_what_the_file_has_not_does_not_count(sparse: Sparse) -> None:
    """A map may be older than its file, or another's: holes are never taken for bytes."""
    sparse.write(0, BLOCK)
    sparse.map.note(0, 64 * GIB)
    assert sparse.killed() == [(0, BLOCK)]
    os.ftruncate(sparse.file, 64 * GIB)
    assert sparse.killed() == [(0, BLOCK)]
    os.pwrite(sparse.file, b"x" * BLOCK, 32 * GIB)
    assert sparse.killed() == [(0, BLOCK), (32 * GIB, 32 * GIB + BLOCK)]
    os.ftruncate(sparse.file, 10)
    assert sparse.killed() == [(0, 10)]
    os.ftruncate(sparse.file, 0)
    assert sparse.killed() == []


def test_without_a_map_a_file_is_what_came_in_order(sparse: Sparse) -> None:
    """As an earlier version leaves it; where a map was lost, up to the first hole."""
    sparse.write(0, BLOCK + 17)
    forget_map(sparse.path)
    assert sparse.killed() == [(0, BLOCK + 17)]
    assert PartialMap.resume(sparse.path, sparse.file, BOOT) is None
    sparse.write(1 * GIB, 1 * GIB + BLOCK)
    ((start, stop),) = sparse.killed()
    assert start == 0
    assert BLOCK + 17 <= stop <= 2 * BLOCK  # the rest of its last block is no hole


def test_a_map_that_is_torn_covers_less(sparse: Sparse) -> None:
    """Never more; and a next process writes one that is whole."""
    for number in range(5):
        sparse.write(2 * number * BLOCK, (2 * number + 1) * BLOCK)
    os.truncate(map_of(sparse.path), 32 * 4 + 7)
    assert sparse.killed() == [(0, BLOCK), (2 * BLOCK, 3 * BLOCK)]
    sparse.go_on()
    sparse.write(20 * BLOCK, 21 * BLOCK)
    assert sparse.killed() == [(0, BLOCK), (2 * BLOCK, 3 * BLOCK), (20 * BLOCK, 21 * BLOCK)]
    map_of(sparse.path).write_bytes(b"garbage" * 1000)
    assert sparse.killed() == []
    assert stat.S_IMODE(map_of(sparse.path).stat().st_mode) == 0o600


def test_a_map_stays_small(sparse: Sparse, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many intervals there are: those that cover most stay known."""
    monkeypatch.setattr(partial_map, "MOST_SLOTS", 64)
    os.ftruncate(sparse.file, 10_000 * BLOCK)
    sparse.write(10_000 * BLOCK, 10_004 * BLOCK)
    for number in range(1000):
        os.pwrite(sparse.file, b"x", 2 * number * BLOCK)
        sparse.map.note(2 * number * BLOCK, 2 * number * BLOCK + 1)
        assert map_of(sparse.path).stat().st_size <= 65 * 32
        if number % 100 == 0:
            sparse.map.sync(sparse.file)
    known = sparse.killed()
    assert 16 <= len(known) <= 64
    assert known[-1] == (10_000 * BLOCK, 10_004 * BLOCK)
    assert known == list(sparse.map.covered)


def test_the_most_that_a_map_holds_is_read_soon(tmp_path: Path) -> None:
    """It is read when a download begins; and a file that covers so much counts what it covers."""
    path = tmp_path / "blob.part"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(file, 64 * GIB)
    PartialMap.create(path, ((n * MIB, n * MIB + 1) for n in range(MOST_SLOTS + 99))).close()
    assert list(covered_by(path, file)) == []
    again = PartialMap.resume(path, file)
    assert again is not None
    again.close()
    os.close(file)
    assert bytes_held(path) <= 64 * KIB


def test_others_note_while_it_is_synced(sparse: Sparse) -> None:
    """Nothing that came after a sync began is taken for what is on the disk."""
    done = threading.Event()

    def sync() -> None:
        while not done.is_set():
            sparse.map.sync(sparse.file)

    thread = threading.Thread(target=sync)
    thread.start()
    for number in range(500):
        sparse.write(number * 100, (number + 1) * 100)
    done.set()
    thread.join()
    assert sparse.killed() == [(0, 50_000)]
    ((start, stop),) = sparse.killed(OTHER_BOOT) or [(0, 0)]
    assert start == 0
    assert stop <= 50_000


def test_a_map_that_is_closed_is_as_it_was(sparse: Sparse) -> None:
    """A late word of a thread changes nothing."""
    sparse.write(0, 10)
    sparse.map.close()
    sparse.map.note(10, 20)
    sparse.map.sync(sparse.file)
    sparse.map.close()
    assert sparse.killed() == [(0, 10)]


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 30), st.integers(1, 5)),
        st.tuples(st.sampled_from(["sync", "go on", "reboot"]), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=_STEPS)
def test_it_never_knows_too_much(tmp_path: Path, steps: list[tuple[str, int, int]]) -> None:
    """Whatever comes when: in the same boot all that was written, after another what was synced."""
    path = tmp_path / "blob.part"
    path.unlink(missing_ok=True)
    sparse, written, synced, boot = Sparse(path), Intervals(), Intervals(), 0
    try:
        for step, at, count in steps:
            now = bytes([boot] * 16) if boot else BOOT
            if step == "write":
                sparse.write(at * 100, (at + count) * 100)
                written.add(at * 100, (at + count) * 100)
            elif step == "sync":
                sparse.map.sync(sparse.file)
                synced = Intervals(written)
            elif step == "go on":
                sparse.go_on(now)
            else:
                boot += 1
                now = bytes([boot] * 16)
                sparse.go_on(now)
                written = Intervals(synced)
            assert sparse.killed(now) == list(written)
            assert sparse.killed(OTHER_BOOT) == list(synced)
            assert list(sparse.map.covered) == list(written)
    finally:
        sparse.close()


def test_a_sparse_file_counts_what_it_covers(sparse: Sparse) -> None:
    """Of 64 GiB that hold 1 MiB it is 1 MiB, and its map."""
    assert bytes_held(sparse.path.with_name("none")) == 0
    sparse.map.close()
    sparse.map = PartialMap.create(sparse.path)
    sparse.write(32 * GIB, 32 * GIB + MIB)
    os.ftruncate(sparse.file, 64 * GIB)
    assert MIB <= bytes_held(sparse.path) <= MIB + 64 * KIB
    forget_map(sparse.path)
    assert bytes_held(sparse.path) == 64 * GIB

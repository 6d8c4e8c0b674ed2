"""Killed while a blob is filled in any order: what was covered is known again, and no more.

Clients ask for parts of a cold blob all over it; the proxy is killed by SIGKILL at some moment of
that. What its map says must be the blob's bytes; the next process asks for the rest alone, serves
the right bytes, and stores the whole. A reboot is a map of another boot: what was not put on the
disk is asked for again.
"""

import contextlib
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from attack.load import BROKEN
from entrepot.intervals import Intervals
from entrepot.storage.partials.map_file import boot_id, map_of, read_map, write_anew
from entrepot.storage.partials.partial_map import covered_by
from rig.client import Client
from rig.faults import Content, FaultServer, Gate
from rig.images import KIB, MIB, incompressible
from rig.process import eventually
from rig.proxy import Entrepot

FAULT = "https://fault.example.test"
SIZE = 8 * MIB
BODY = b"".join(incompressible("sparse crash", SIZE))
SLACK = MIB
"""What may come twice: what was under way, and what is asked for beside a gap."""
PARTS = 12
PART = 50 * KIB
SPACE = SIZE // PARTS


@dataclass(frozen=True, slots=True)
class Kept:
    """What a kill left of the blob."""

    path: Path
    covered: Intervals


def kept(entrepot: Entrepot, boot: bytes | None = None) -> Kept | None:
    """The unfinished download; every byte of it that is said to be there is the blob's."""
    found = [path for path in (entrepot.data / "partial").iterdir() if path.suffix == ".part"]
    if not found:
        return None
    (path,) = found
    file = os.open(path, os.O_RDONLY)
    try:
        covered = covered_by(path, file, boot)
        for start, stop in covered:
            assert os.pread(file, stop - start, start) == BODY[start:stop], (start, stop)
    finally:
        os.close(file)
    return Kept(path, covered)


def starts(rng: random.Random) -> list[int]:
    """Where parts begin, each far from the others, in any order; some at the very end."""
    found = [number * SPACE + rng.randrange(SPACE // 2) for number in range(PARTS - 1)]
    rng.shuffle(found)
    return [SIZE - PART, *found]


def ask(client: Client, path: str, start: int) -> bool:
    """Ask for a part; whether it came whole, which is right then."""
    wanted = {"Range": f"bytes={start}-{start + PART - 1}"}
    with contextlib.suppress(*BROKEN):
        answer = client.get(FAULT + path, wanted)
        assert answer.status == 206, answer
        assert answer.body == BODY[start : start + PART]
        return True
    return False


def fetched(faults: FaultServer, path: str) -> int:
    return sum(one.sent for one in faults.of(path=path, method="GET"))


def killed_at(
    entrepot: Entrepot, faults: FaultServer, path: str, content: Content, moment: int, seed: str
) -> int:
    """Ask for parts, of which upstream sends so many bytes in all, and kill; how many came."""
    rng, gate = random.Random(f"{seed} {moment}"), Gate(moment)  # noqa: S311 - to be repeated
    content.gate = gate
    client, before = entrepot.client(timeout=20), fetched(faults, path)
    with ThreadPoolExecutor(PARTS) as pool:
        asked = [pool.submit(ask, client, path, start) for start in starts(rng)]
        sent = f"{moment} bytes sent"
        eventually(lambda: fetched(faults, path) - before >= moment, what=sent)
        faults.await_taken()
        entrepot.kill9()
        gate.open()
        content.gate = None
        return sum(one.result() for one in asked)


@pytest.mark.parametrize("moment", [1, 60 * KIB, 700 * KIB, 3 * MIB, SIZE - 1])
def test_what_was_covered_is_not_fetched_again(
    entrepot: Entrepot, faults: FaultServer, attack_seed: str, moment: int
) -> None:
    """Promise 3: at whatever moment; and promise 1: the bytes end right, and are stored."""
    path, content = faults.add_blob("app", BODY)
    came = killed_at(entrepot, faults, path, content, moment, attack_seed)
    left = kept(entrepot)
    covered = left.covered.total if left else 0
    assert covered >= came * PART, "what a client has was lost"
    before = fetched(faults, path)
    assert covered >= min(before, SIZE) - SLACK, attack_seed
    _goes_on(entrepot, faults, path, covered)


def _goes_on(entrepot: Entrepot, faults: FaultServer, path: str, covered: int) -> None:
    before = fetched(faults, path)
    entrepot.start()
    client = entrepot.client()
    for start in starts(random.Random(1))[:3]:  # noqa: S311 - any will do
        assert ask(client, path, start)
    assert client.get(FAULT + path).body == BODY
    entrepot.await_stored([path.rpartition("/")[2]])
    assert fetched(faults, path) - before <= SIZE - covered + SLACK
    eventually(lambda: not list((entrepot.data / "partial").iterdir()), what="committed")
    assert "hit" in client.head(FAULT + path).cache_status


def test_a_reboot_asks_again_for_what_was_not_on_the_disk(
    entrepot: Entrepot, faults: FaultServer, attack_seed: str
) -> None:
    """What the page cache had is gone: it is neither served nor counted, whatever is there."""
    path, content = faults.add_blob("app", BODY)
    killed_at(entrepot, faults, path, content, 2 * MIB, attack_seed)
    left = kept(entrepot)
    assert left is not None
    said = read_map(left.path, boot_id())
    assert said is not None
    durable = Intervals(said.durable)
    lost = Intervals(gap for span in left.covered for gap in durable.gaps(*span))
    before_it = b"another boot ..."
    os.close(write_anew(left.path, before_it, durable, lost)[0])
    with left.path.open("r+b") as file:  # what a power cut makes of it
        for start, stop in lost:
            file.seek(start)
            file.write(b"\0" * (stop - start))
    assert kept(entrepot) == Kept(left.path, durable)
    _goes_on(entrepot, faults, path, durable.total)


@pytest.mark.parametrize("harm", ["garbage", "cut", "none", "beyond", "a folder"])
def test_a_map_that_was_spoilt_costs_a_fetch(
    entrepot: Entrepot, faults: FaultServer, attack_seed: str, harm: str
) -> None:
    """Promise 1: whatever it says, or where it is gone, no wrong byte is given as whole."""
    path, content = faults.add_blob("app", BODY)
    killed_at(entrepot, faults, path, content, 2 * MIB, attack_seed)
    left = kept(entrepot)
    assert left is not None
    where = map_of(left.path)
    assert where.stat().st_mode & 0o777 == 0o600
    if harm == "garbage":
        where.write_bytes(random.Random(attack_seed).randbytes(100_000))  # noqa: S311
    elif harm == "cut":
        os.truncate(where, where.stat().st_size // 2)
    elif harm == "none":
        where.unlink()
    elif harm == "beyond":
        os.close(write_anew(left.path, boot_id(), Intervals([(0, 2**50)]), Intervals())[0])
    else:
        where.unlink()
        where.mkdir()
    entrepot.start()
    client = entrepot.client()
    assert ask(client, path, SIZE - PART)
    assert ask(client, path, 3 * SPACE)
    tries = 3  # a last block that a hole shares with bytes may spoil one
    while tries:
        tries -= 1
        with contextlib.suppress(*BROKEN):
            assert client.get(FAULT + path).body == BODY
            break
    else:
        raise AssertionError("it never came whole")


def test_kills_one_after_another(entrepot: Entrepot, faults: FaultServer, attack_seed: str) -> None:
    """A blob that no process lives long enough for comes whole all the same, and once."""
    path, content = faults.add_blob("app", BODY)
    for number in range(4):
        killed_at(
            entrepot, faults, path, content, fetched(faults, path) and 1500 * KIB, f"{number}"
        )
        left = kept(entrepot)
        assert left is None or left.covered.total >= fetched(faults, path) - (number + 1) * SLACK
        entrepot.start()
    assert entrepot.client().get(FAULT + path).body == BODY
    assert fetched(faults, path) <= SIZE + 5 * SLACK, attack_seed

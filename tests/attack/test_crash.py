"""Killed at any moment, it goes on: nothing corrupt, nothing orphaned, nothing lost.

One data folder over all rounds. Each round starts the proxy, loads it with everything that
clients do, kills it by SIGKILL at a moment of the round's own, and looks: at the folder with
plain SQL and plain files, and through a proxy started again.
"""

import contextlib
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from attack.datafolder import Contents, covered, examine
from attack.load import BROKEN, Load
from attack.world import REGISTRIES, Thing, World
from entrepot.transfer.filling.segments import READ_THROUGH
from rig.client import Client
from rig.faults import Content, FaultServer, Gate
from rig.images import KIB, MIB, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

pytestmark = pytest.mark.slow

CLIENTS = 12
LARGE, SMALL = 2048 * MIB, 8 * MIB
"""A limit that evicts nothing in these rounds, and one that evicts all the time."""

_STORED = re.compile(r" blob_stored digest=(\S+) ")
_SNIPER = Path(__file__).with_name("sniper.py")
_AT_ONCE = 12
_PATIENCE = 2.0
_LOOKED_AT = 4
_BESIDE = 64 * KIB
"""What is asked for beside a gap, so that small ones are one."""


class Crash:
    """A data folder that is used, killed over and looked at, round by round."""

    def __init__(self, start: "StartEntrepot", world: World, data: Path, seed: str) -> None:
        self.world = world
        self.rng = random.Random(seed)  # noqa: S311 - an attack is to be repeated
        self.whole: set[str] = set()
        """The digests of the fault server's blobs that must be here."""
        self.seen: Counter[str] = Counter()
        """What was there to be looked at."""
        self._start = start
        self._data = data
        self._proxies: dict[int, Entrepot] = {}
        self._read: dict[int, int] = {LARGE: 0, SMALL: 0}
        self._moments: tuple[Callable[[Entrepot], None], ...] = (
            self._any_time,
            self._while_storing,
            self._while_all_commit,
            self._at_a_mismatch,
            self._between_file_and_row,
            self._while_storing,
            self._while_stopping,
            self._while_starting,
        )

    def round(self, number: int) -> None:
        """One round; raises AssertionError for whatever is not as it must be."""
        limit = SMALL if number % 5 == 4 else LARGE
        entrepot = self._with_limit(limit)
        client = entrepot.client(timeout=20)
        seed = str(self.rng.random())
        with Load(self.world, client, seed=seed, clients=CLIENTS, strict=False) as load:
            self._moments[number % len(self._moments)](entrepot)
            entrepot.kill9()
        assert load.problems == []
        orderly = (entrepot.data / "clean").exists()  # killed after the last thing that an end does
        entrepot.start()
        if not orderly:
            entrepot.await_put_right()
        contents = examine(entrepot.data)
        self._check_contents(contents, limit)
        client = entrepot.client()
        self._check_hits(client)
        if limit == LARGE:
            self._check_resumed(client, contents)
        else:
            kept = contents.blobs.keys() | contents.partials.keys()
            self.world.keep(lambda thing: thing.digest in kept)

    def _with_limit(self, limit: int) -> Entrepot:
        """The proxy of this limit; only one can have the folder."""
        for other in self._proxies.values():
            if other is not self._proxies.get(limit):
                other.kill9()
        if limit not in self._proxies:
            self._proxies[limit] = self._start(
                data=str(self._data), size=str(limit), registry=REGISTRIES
            )
        elif not self._proxies[limit].daemon.running():
            self._proxies[limit].start()
        return self._proxies[limit]

    def _note_stored(self) -> None:
        for limit, entrepot in self._proxies.items():
            self.whole |= set(_STORED.findall(entrepot.log[self._read[limit] :]))
            self._read[limit] = entrepot.log.rfind("\n") + 1

    # The moments

    def _any_time(self, _: Entrepot) -> None:
        time.sleep(self.rng.uniform(0, 1))

    def _while_storing(self, entrepot: Entrepot) -> None:
        """At a line that says that something was stored, or just after."""
        self._await_line(entrepot, " blob_stored ", self.rng.randint(1, 20))
        time.sleep(self.rng.choice((0, 0, 0.001, 0.005)))

    def _at_a_mismatch(self, entrepot: Entrepot) -> None:
        self._await_line(entrepot, " digest_mismatched ", 1)

    def _between_file_and_row(self, entrepot: Entrepot) -> None:
        """In the instant in which a finished download leaves its place."""
        sniper = [sys.executable, str(_SNIPER), str(entrepot.data / "partial"), str(entrepot.pid)]
        count = str(self.rng.randint(1, 8))
        with contextlib.suppress(subprocess.TimeoutExpired):  # then any time will do
            subprocess.run([*sniper, count], timeout=_PATIENCE, check=True)

    def _while_all_commit(self, entrepot: Entrepot) -> None:
        """While many downloads that have all but their last byte get it at once."""
        gate, client = Gate(), entrepot.client(timeout=20)
        things = self._held_back(gate)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            pulls = [pool.submit(_pull, client, thing) for thing in things]
            for thing in things:
                self.world.faults.await_request(path=thing.path, method="GET")
            wanted = sum(len(thing.body) for thing in things)
            gate.allow(wanted - _AT_ONCE * KIB)
            self._await_line(entrepot, " blob_stored ", 1)
            gate.open()
            time.sleep(self.rng.uniform(0, 0.05))
            entrepot.kill9()
        assert all(pull.result() for pull in pulls), "a whole body that is another"

    def _held_back(self, gate: Gate) -> list[Thing]:
        things: list[Thing] = []
        while len(things) < _AT_ONCE:
            thing = self.world.fresh(self.rng)
            if not thing.wrong:
                handler = Content(thing.body, digest=thing.digest, gate=gate)
                self.world.faults.routes[thing.path] = handler
                things.append(thing)
        return things

    def _while_stopping(self, entrepot: Entrepot) -> None:
        """In an orderly end that takes longer than somebody has patience."""
        time.sleep(self.rng.uniform(0.1, 0.5))
        entrepot.daemon.stop(within=self.rng.uniform(0, 0.3))

    def _while_starting(self, entrepot: Entrepot) -> None:
        """Once in a load, then in the middle of putting right what that left."""
        self._await_line(entrepot, " blob_stored ", 3)
        entrepot.kill9()
        entrepot.daemon.spawn()
        time.sleep(self.rng.uniform(0, 0.4))

    def _await_line(self, entrepot: Entrepot, text: str, count: int) -> None:
        """Wait for so many more lines with a text; where they do not come, any time will do."""
        path = entrepot.daemon.log_path
        with path.open() as log:
            log.seek(0, 2)
            deadline = time.monotonic() + _PATIENCE
            while count > 0 and time.monotonic() < deadline:
                count -= log.read().count(text)
                time.sleep(0.0005)

    # What must hold

    def _check_contents(self, contents: Contents, limit: int) -> None:
        assert contents.problems == []
        assert contents.used <= limit
        assert contents.used + contents.pushed <= limit + limit // 8
        for digest, path in contents.partials.items():
            thing = self.world.find(digest)
            if thing is not None and not thing.wrong:
                content, spans = path.read_bytes(), covered(path)
                for start, stop in spans:
                    part = thing.body[start:stop]
                    assert content[start:stop] == part, f"{path.name}: no part of it {start}-{stop}"
                self.seen["sparse"] += spans[:1] != [(0, len(content))]
        self.seen["partials"] += len(contents.partials)
        self.seen["blobs"] += len(contents.blobs)
        self._note_stored()
        if limit == SMALL:
            self.whole &= contents.blobs.keys()
        assert self.whole - contents.blobs.keys() == set(), "stored, not evicted, and gone"
        assert contents.blobs.keys() & contents.partials.keys() == set(), "both whole and begun"
        held = {key.rpartition(" ")[2] for key in contents.index if key.startswith("held ")}
        assert contents.blobs.keys() - held == set(), "bytes that nobody can be given"

    def _check_hits(self, client: Client) -> None:
        """What was whole is a hit, and upstream sends none of it again."""
        things = [thing for digest in sorted(self.whole) if (thing := self.world.find(digest))]
        for thing in self.rng.sample(things, min(len(things), _LOOKED_AT)):
            gets = len(self._fetches(thing))
            answer = client.get(thing.url)
            assert (answer.body == thing.body, "hit" in answer.cache_status) == (True, True)
            self.seen["hits"] += 1
            assert len(self._fetches(thing)) == gets

    def _fetches(self, thing: Thing) -> list[str | None]:
        """The Range of each GET but of those that only ask for leave, by the first byte."""
        ranges = [one.range for one in self.world.faults.of(path=thing.path, method="GET")]
        return [wanted for wanted in ranges if wanted != "bytes=0-0"]

    def _fetched(self, thing: Thing) -> int:
        """How many bytes of it were sent."""
        return sum(one.sent for one in self.world.faults.of(path=thing.path, method="GET"))

    def _check_resumed(self, client: Client, contents: Contents) -> None:
        """What was interrupted goes on with Range."""
        for digest, path in sorted(contents.partials.items())[:_LOOKED_AT]:
            thing, spans = self.world.find(digest), covered(path)
            if thing is None or thing.wrong:
                continue
            self.world.faults.routes[thing.path] = Content(thing.body, digest=digest)
            asked = self._fetched(thing)
            assert client.get(thing.url).body == thing.body
            missing = len(thing.body) - sum(stop - start for start, stop in spans)
            again = sum(_again(start, stop) for start, stop in spans)
            assert self._fetched(thing) - asked <= missing + again
            self.seen["resumed"] += 1


def _again(start: int, stop: int) -> int:
    """How much may come although it is here: short stretches behind a gap are read through."""
    is_short = start > 0 and stop - start < READ_THROUGH
    return _BESIDE + (stop - start if is_short else 0)


def _pull(client: Client, thing: Thing) -> bool:
    """Whether a client got a blob whole, or saw that it did not."""
    try:
        answer = client.get(thing.url)
    except BROKEN:
        return True
    return answer.status >= 500 or answer.body == thing.body


def test_kill_9_at_any_moment(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    faults: FaultServer,
    images: ImageFactory,
    folder: Path,
    attack_seed: str,
    request: pytest.FixtureRequest,
) -> None:
    """Promises 1, 3 and 7: nothing corrupt, orphaned or lost, however often it is killed."""
    world = World(upstreams, faults, images, attack_seed)
    crash = Crash(start_entrepot, world, folder / "data", attack_seed)
    for number in range(request.config.getoption("--crash-rounds")):
        try:
            crash.round(number)
        except Exception as error:
            error.add_note(f"in round {number} of --attack-seed {attack_seed}")
            raise
    print(dict(crash.seen))  # noqa: T201 - shown by pytest -s
    assert crash.seen["hits"] > 0
    assert crash.seen["resumed"] > 0


def test_kill_9_at_the_first_start(
    start_entrepot: "StartEntrepot", attack_seed: str, request: pytest.FixtureRequest
) -> None:
    """A folder that is just being made is usable whenever that ends."""
    rng = random.Random(attack_seed)  # noqa: S311 - an attack is to be repeated
    entrepot = start_entrepot(size=str(LARGE))
    for number in range(max(3, request.config.getoption("--crash-rounds") // 10)):
        entrepot.kill9()
        shutil.rmtree(entrepot.data)
        entrepot.daemon.spawn()
        eventually(entrepot.data.exists, what="the folder")
        time.sleep(rng.uniform(0, 0.1))
        entrepot.kill9()
        try:
            entrepot.start()
            assert examine(entrepot.data).problems == []
        except Exception as error:
            error.add_note(f"in round {number} of --attack-seed {attack_seed}")
            raise

"""What it costs to be seen: a proxy that records, with its page open and its metrics scraped.

It is compared with one that records nothing and that nobody looks at. Both hold the same images;
the one has a million requests on record from the start. They are asked in turns, in each round.
"""

import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import measures
from bench.measures import Figures
from bench.peers import Ours
from bench.stage import Stage
from rig.demo import make
from rig.process import RigError

_IMAGES = 1_000
_LIMIT = "60TiB"
"""The images are holes: they count for more than there is room."""
_TURNS = 5
_UNSEEN, _SEEN = "", "seen_"


def watched(stage: Stage, key: str) -> Figures:
    """Return rates, starts and memory of both."""
    figures: dict[str, float] = {}
    with ExitStack() as stack:
        peers: dict[str, Ours] = {}
        for name, record in ((_UNSEEN, "none"), (_SEEN, "clients")):
            folder = _folder(stage, records=record != "none")
            peer = Ours(folder, stage.origin, size=_LIMIT, record=record)
            stack.enter_context(stage.kept(key, peer))
            began = time.perf_counter()
            peer.start()
            figures[f"{name}start"] = time.perf_counter() - began
            stage.heat(peer, stage.origin.near.url(stage.manifest.path), stage.manifest.size)
            peers[name] = peer
        turns: dict[str, list[Figures]] = {name: [] for name in peers}
        stack.enter_context(_watching(peers[_SEEN]))
        for name in random.sample(list(peers), len(peers)) * _TURNS:
            turns[name].append(_rates(stage, peers[name]))
        for name, peer in peers.items():
            figures[f"{name}memory"] = peer.peak_memory() / 2**20
    for name, taken in turns.items():
        for figure in taken[0]:
            figures[name + figure] = statistics.median(one[figure] for one in taken)
    figures["start_more"] = figures["seen_start"] - figures["start"]
    figures["memory_more"] = figures["seen_memory"] - figures["memory"]
    return figures


def _rates(stage: Stage, peer: Ours) -> Figures:
    kept = measures.manifest_of(stage, peer, stage.sizes.requests // _TURNS)
    new = measures.connection_of(stage, peer, stage.sizes.connections // _TURNS)
    return {"kept_rate": kept["rate"], "new_rate": new["rate"]}


def _folder(stage: Stage, *, records: bool) -> Path:
    """A peer's folder with a data folder in it, as after years of pulls."""
    made = stage.folder / "seen"
    if not made.exists():
        make(made / "data", time.time(), images=_IMAGES, requests=stage.sizes.records)
    folder = stage.folder / ("watched" if records else "unwatched")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", made, folder], check=True)
    if not records:
        for path in (folder / "data").glob("records.db*"):
            path.unlink()
    return folder


@contextmanager
def _watching(peer: Ours) -> Iterator[None]:
    """Let somebody look at a proxy meanwhile; who stops looking is an error."""
    command = [sys.executable, "-m", "bench.watcher", str(peer.way.port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"watching\n":
            raise RigError("the page or the metrics did not answer")
        yield
        if process.poll() is not None:
            raise RigError("the page or the metrics did not answer any more")
    finally:
        process.kill()
        process.communicate()

"""What should not grow with the store: hits, claims, pages and starts, of a small and a large one.

Both are asked in the same round, by a mirror over plain HTTP whose registry is never asked: what is
left is the store's work and that of the way to it.
"""

import http.client
import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from bench.grown import LIMIT, Made
from bench.measures import Figures
from bench.peers import Peer, offline
from bench.stage import Stage
from entrepot.storage.store import Store
from rig.images import ANY_MANIFEST
from rig.process import RigError

_PAGES = 50
_CLAIMED = 1 << 20
_STORES = ("few", "many")
Act = Callable[[], object]


def growth(stage: Stage, key: str) -> Figures:
    """Return milliseconds of each kind of request to both stores, and the seconds of starts."""
    stores = [stage.grown(scale) for scale in (stage.sizes.few, stage.sizes.many)]
    figures = dict(_claims([folder / "data" for folder, _ in stores], stage.sizes.requests))
    with _running(stage, key, stores, "start", figures) as peers:
        for name, paths in _paths(stage, [made for _, made in stores]).items():
            figures |= _asked(peers, name, paths)
    with _running(stage, key, stores, "killed_start", figures):
        pass
    for start in ("start", "killed_start"):
        figures[f"{start}_more"] = figures[f"many_{start}"] - figures[f"few_{start}"]
    return figures


@contextmanager
def _running(
    stage: Stage,
    key: str,
    stores: list[tuple[Path, list[Made]]],
    name: str,
    figures: dict[str, float],
) -> Iterator[list[Peer]]:
    """Run a proxy on each store; how long each took until it was ready goes to ``figures``."""
    with ExitStack() as stack:
        peers: list[Peer] = []
        for store, (folder, _) in zip(_STORES, stores, strict=True):
            peer = offline(folder, stage.origin, stage.origin.near)
            stack.enter_context(stage.kept(key, peer))
            peers.append(peer)
            figures[f"{store}_{name}"] = _seconds(peer.start)
        yield peers


def _claims(folders: list[Path], count: int) -> Figures:
    """Claim room for a download and give it back, again and again, past the proxy."""
    with ExitStack() as stack:
        stores = [stack.enter_context(closing(Store(folder, LIMIT))) for folder in folders]
        for store in stores:
            store.recover(lambda function: function(), lambda: None)  # what the last round left
        return _timed("claim", [[partial(_claim, store)] * count for store in stores])


def _claim(store: Store) -> None:
    path = store.partials.folder / "claimed"
    if not store.downloads.claim(path, _CLAIMED):
        raise RigError("there is no room to claim")
    store.downloads.release(path)


def _paths(stage: Stage, made: list[list[Made]]) -> dict[str, list[list[str]]]:
    """What to ask each store for: of a small one the same again and again, of a large one not."""
    paths = {
        kind: [
            random.choices([one.path for one in of if one.kind == f"{kind}s"], k=count)  # noqa: S311 - no secret
            for of in made
        ]
        for kind, count in (("manifest", stage.sizes.requests), ("blob", stage.sizes.requests))
    }
    return {**paths, "page": [_pages({one.repository.name for one in of}) for of in made]}


def _pages(names: set[str]) -> list[str]:
    """A hundred repositories each, from the beginning and from elsewhere."""
    after = ["", *sorted(names)[: len(names) // 2 : 40]]
    paths = itertools.cycle(f"/v2/_catalog?n=100&last={name}" for name in after)
    return list(itertools.islice(paths, _PAGES))


def _asked(peers: list[Peer], name: str, paths: list[list[str]]) -> Figures:
    with ExitStack() as stack:
        acts: list[list[Act]] = []
        for peer, of in zip(peers, paths, strict=True):
            connection = http.client.HTTPConnection("127.0.0.1", peer.way.port, timeout=30)
            stack.callback(connection.close)
            _ask(connection, of[0])
            acts.append([partial(_ask, connection, path) for path in of])
        return _timed(name, acts)


def _ask(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path, headers={"Accept": ANY_MANIFEST})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200 or "hit" not in response.headers.get("Cache-Status", ""):
        raise RigError(f"{path}: got {response.status} {body[:200]!r}, want a hit")


def _timed(name: str, acts: list[list[Act]]) -> Figures:
    """Act on both stores in turns, so that what else the machine does meets both."""
    times: list[list[float]] = [[] for _ in acts]
    for turn in zip(*acts, strict=True):
        for of, act in zip(times, turn, strict=True):
            of.append(_seconds(act) * 1000)
    return {
        f"{store}_{name}_{figure}": value
        for store, of in zip(_STORES, times, strict=True)
        for figure, value in (
            ("p50", statistics.median(of)),
            ("p99", statistics.quantiles(of, n=100)[98]),
        )
    }


def _seconds(act: Act) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began

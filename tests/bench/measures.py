"""What is done with one peer in one round: each function returns raw figures by name.

`origin_gets` is how many bodies of blobs and manifests the origin was asked for meanwhile: it tells
whether a warm one was warm.
"""

import random
import statistics
import time
from collections.abc import Callable, Mapping

from bench.load import Connection, Transfer, Way, context, fetch
from bench.origin import Blob
from bench.peers import Peer
from bench.roads import Gateway, Severable
from bench.stage import BIG, MANY_LAYERS, Sizes, Stage

Figures = Mapping[str, float]
Measure = Callable[[Stage, str], Figures]
SizeOf = Callable[[Sizes], int]
_GIB = 1 << 30
_TURNS = 3  # where one round compares a peer with itself


def warm(size: SizeOf, clients: int = 1, *, plain: bool = False) -> Measure:
    """Return what fetches a cached blob, with so many clients at once; `plain`: without TLS."""

    def measure(stage: Stage, key: str) -> Figures:
        blob = stage.blob(size(stage.sizes))
        url = stage.origin.near.url(blob.path, plain=plain)
        peer = stage.warm(key, url, blob.size, plain=plain)
        return _fetched(stage, peer, url, blob, clients)

    return measure


def transparent(stage: Stage, key: str) -> Figures:
    """Fetch a cached blob of one proxy by CONNECT and redirected, in turns that begin at random."""
    blob, near = stage.blob(stage.sizes.blob), stage.origin.near
    url = near.url(blob.path)
    with stage.running(key, Gateway, near) as gateway:
        stage.heat(gateway, url, blob.size)
        ways = {"": gateway.way, "redirected_": gateway.redirected}
        turns: dict[str, list[Figures]] = {name: [] for name in ways}
        for name in random.sample(list(ways), len(ways)) * _TURNS:
            turns[name].append(_fetched(stage, gateway, url, blob, 1, ways[name]))
    return {
        name + figure: statistics.median(one[figure] for one in figures)
        for name, figures in turns.items()
        for figure in figures[0]
    }


def cold(size: SizeOf, clients: int = 1) -> Measure:
    """Return what fetches a blob that is not cached, with so many clients at once."""

    def measure(stage: Stage, key: str) -> Figures:
        blob = stage.blob(size(stage.sizes))
        with stage.fresh(key, stage.origin.near) as peer:
            stage.touch(peer, stage.origin.near)
            return _fetched(stage, peer, stage.origin.near.url(blob.path), blob, clients)

    return measure


def throttled(stage: Stage, key: str) -> Figures:
    """Fetch a blob that is not cached from the content host that is slow on each connection."""
    blob, slow = stage.blob(stage.sizes.throttled), stage.origin.slow
    with stage.fresh(key, slow) as peer:
        stage.touch(peer, slow)
        return _fetched(stage, peer, slow.url(blob.path), blob, 1)


def _fetched(
    stage: Stage, peer: Peer, url: str, blob: Blob, clients: int, way: Way | None = None
) -> Figures:
    clients = min(clients, stage.sizes.clients)
    mark, before = stage.origin.mark(), peer.cpu_seconds()
    transfer: Transfer = fetch(way or peer.way, url, clients=clients, size=blob.size)
    cpu = peer.cpu_seconds() - before
    seen = stage.origin.requests(mark)
    return {
        "seconds": transfer.seconds,
        "speed": transfer.speed / 1e9,
        "cpu": cpu / transfer.size * _GIB,
        "origin_gets": stage.gets(mark),
        # A question for leave reads one byte more.
        "origin_copies": round(seen.blob_bytes / blob.size, 3),
    }


def manifest(stage: Stage, key: str) -> Figures:
    """Ask for a cached manifest again and again on one connection."""
    url = stage.origin.near.url(stage.manifest.path)
    return manifest_of(stage, stage.warm(key, url, stage.manifest.size), stage.sizes.requests)


def manifest_of(stage: Stage, peer: Peer, times: int) -> Figures:
    """Ask a peer that has it for the manifest so often, on one connection."""
    url = stage.origin.near.url(stage.manifest.path)
    connection = Connection(peer.way, url, context(peer.way))
    try:
        with peer.a_core_each():
            connection.ask()
            return _timed(stage, peer, times, connection.ask)
    finally:
        connection.close()


def connection(stage: Stage, key: str) -> Figures:
    """Ask for a cached manifest, on a new connection each time."""
    url = stage.origin.near.url(stage.manifest.path)
    return connection_of(stage, stage.warm(key, url, stage.manifest.size), stage.sizes.connections)


def connection_of(stage: Stage, peer: Peer, times: int) -> Figures:
    """Ask a peer that has it for the manifest so often, each time on a new connection."""
    url = stage.origin.near.url(stage.manifest.path)
    trust = context(peer.way)

    def ask() -> None:
        one = Connection(peer.way, url, trust)
        one.ask()
        one.close()

    with peer.a_core_each():
        ask()
        return _timed(stage, peer, times, ask)


def _timed(stage: Stage, peer: Peer, times: int, act: Callable[[], None]) -> Figures:
    """Return milliseconds of each act, and of the CPU that both sides used for it."""
    seconds = []
    mark, before, own = stage.origin.mark(), peer.cpu_seconds(), time.thread_time()
    for _ in range(times):
        start = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - start)
    own, cpu = time.thread_time() - own, peer.cpu_seconds() - before
    return {
        "p50": statistics.median(seconds) * 1000,
        "p99": statistics.quantiles(seconds, n=100)[98] * 1000,
        "rate": times / sum(seconds),
        "cpu": cpu / times * 1000,
        "client_cpu": own / times * 1000,
        "origin_gets": stage.gets(mark),
    }


def pull(stage: Stage, key: str) -> Figures:
    """Pull the big image with docker; what can be cached is."""
    return _pulled(stage, key, BIG, far=False)


def far_pull(stage: Stage, key: str) -> Figures:
    """Pull the image of many small layers from the registry that is far away."""
    return _pulled(stage, key, MANY_LAYERS, far=True)


def away(stage: Stage, key: str) -> Figures:
    """Pull the big image again and again; in the middle, all packets to the origin are dropped."""
    near = stage.origin.near
    with (
        stage.running(key, Severable, near) as peer,
        stage.fresh_engine(peer.way, near) as engine,
    ):
        for _ in range(2):  # the second waits for what the first left to be stored
            engine.pull(BIG)
        mark = stage.origin.mark()
        before = [engine.pull(BIG) for _ in range(_TURNS)]
        gets = stage.gets(mark)
        peer.road.freeze()
        first, *after = (engine.pull(BIG) for _ in range(1 + _TURNS))
    return {
        "seconds": statistics.median(before),
        "first": first,
        "after": statistics.median(after),
        "origin_gets": gets,
    }


def _pulled(stage: Stage, key: str, tag: str, *, far: bool) -> Figures:
    address = stage.origin.distant if far else stage.origin.near
    engine = stage.engine(key, address)
    stage.warm_engine(engine, tag)
    mark = stage.origin.mark()
    seconds = engine.pull(tag)
    seen = stage.origin.requests(mark)
    return {
        "seconds": seconds,
        "origin_requests": len(seen),
        "origin_gets": len(seen.blob_gets) + len(seen.manifest_gets),
    }

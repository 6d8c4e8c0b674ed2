"""What is measured: one function a row, for one peer in one round.

A function returns raw figures by name. Of warm rows `origin_gets` says that they were warm: it is
how many bodies the origin was asked for meanwhile.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.load import Connection, context, fetch
from bench.peers import DIRECT
from bench.stage import Stage

Figures = Mapping[str, float]
Measure = Callable[[Stage, str], Figures]
_GIB = 1 << 30

SERVERS = ("entrepot", "nginx", "proxy_cache", "squid", "mirror")
CACHES = ("entrepot", DIRECT, "proxy_cache", "squid", "mirror")


@dataclass(frozen=True, slots=True)
class Target:
    """What our median must reach: the figure itself, or its ratio to the baseline's."""

    limit: float
    at_least: bool
    of: str

    def reached(self, median: float) -> bool:
        return median >= self.limit if self.at_least else median <= self.limit


def at_least(limit: float, of: str) -> Target:
    return Target(limit, at_least=True, of=of)


def at_most(limit: float, of: str) -> Target:
    return Target(limit, at_least=False, of=of)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a figure of what `measure` returns.

    Ratios are to the peer `baseline` in the same round.
    """

    name: str
    title: str
    figure: str
    unit: str
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What is run as one: it gives one or more lines of the table."""

    name: str
    measure: Measure
    peers: tuple[str, ...]
    baseline: str
    rows: tuple[Row, ...]
    engine: bool = False


def warm(clients: int) -> Measure:
    """Return what fetches a cached blob with so many clients at once."""

    def measure(stage: Stage, key: str) -> Figures:
        blob = stage.blob(stage.sizes.blob if clients == 1 else stage.sizes.shared)
        url = stage.origin.near.url(blob.path)
        peer = stage.warm(key, url, blob.size)
        mark, before = stage.origin.mark(), peer.cpu_seconds()
        transfer = fetch(peer.way, url, clients=clients, size=blob.size)
        return {
            "speed": transfer.speed / 1e9,
            "seconds": transfer.seconds,
            "cpu": (peer.cpu_seconds() - before) / transfer.size * _GIB,
            "origin_gets": stage.gets(mark),
        }

    return measure


def cold(stage: Stage, key: str) -> Figures:
    """Fetch a blob that is not cached."""
    blob = stage.blob(stage.sizes.blob)
    url = stage.origin.near.url(blob.path)
    with stage.fresh(key, stage.origin.near) as peer:
        stage.touch(peer)
        mark, before = stage.origin.mark(), peer.cpu_seconds()
        transfer = fetch(peer.way, url, size=blob.size)
        return {
            "speed": transfer.speed / 1e9,
            "seconds": transfer.seconds,
            "cpu": (peer.cpu_seconds() - before) / transfer.size * _GIB,
            "origin_gets": stage.gets(mark),
        }


def manifest(stage: Stage, key: str) -> Figures:
    """Ask for a cached manifest again and again on one connection."""
    small = stage.manifest
    url = stage.origin.near.url(small.path)
    peer = stage.warm(key, url, small.size)
    seconds = []
    connection = Connection(peer.way, url, context(peer.way))
    with peer.a_core_each():
        connection.ask()
        mark, before, own = stage.origin.mark(), peer.cpu_seconds(), time.thread_time()
        start = time.perf_counter()
        for _ in range(stage.sizes.requests):
            asked = time.perf_counter()
            connection.ask()
            seconds.append(time.perf_counter() - asked)
        took = time.perf_counter() - start
        own = time.thread_time() - own
        cpu = peer.cpu_seconds() - before
    connection.close()
    return {
        "p50": statistics.median(seconds) * 1000,
        "p99": statistics.quantiles(seconds, n=100)[98] * 1000,
        "rate": len(seconds) / took,
        "cpu": cpu / len(seconds) * 1000,
        "client_cpu": own / len(seconds) * 1000,
        "origin_gets": stage.gets(mark),
    }


def connection(stage: Stage, key: str) -> Figures:
    """Ask for a cached manifest on a new connection each time."""
    small = stage.manifest
    url = stage.origin.near.url(small.path)
    peer = stage.warm(key, url, small.size)
    trust = context(peer.way)
    with peer.a_core_each():
        mark, before, own = stage.origin.mark(), peer.cpu_seconds(), time.thread_time()
        seconds = []
        for _ in range(stage.sizes.connections):
            start = time.perf_counter()
            one = Connection(peer.way, url, trust)
            one.ask()
            seconds.append(time.perf_counter() - start)
            one.close()
        own = time.thread_time() - own
        cpu = peer.cpu_seconds() - before
    return {
        "wall": statistics.median(seconds) * 1000,
        "cpu": cpu / len(seconds) * 1000,
        "client_cpu": own / len(seconds) * 1000,
        "origin_gets": stage.gets(mark),
    }


LOADS = (
    Load(
        "warm",
        warm(1),
        SERVERS,
        "nginx",
        (
            Row("warm", "warm blob, 1 client", "speed", "GB/s", at_least(0.9, "ratio")),
            Row("warm-cpu", "— CPU of the server", "cpu", "s/GiB"),
        ),
    ),
    Load(
        "cold",
        cold,
        CACHES,
        DIRECT,
        (Row("cold", "cold blob, 1 client", "speed", "GB/s", at_least(0.6, "ratio")),),
    ),
    Load(
        "manifest",
        manifest,
        SERVERS,
        "",
        (
            Row(
                "manifest-p50",
                "cached manifest, kept connection, p50",
                "p50",
                "ms",
                at_most(3, "figure"),
            ),
            Row("manifest-rate", "— on one core", "rate", "/s", at_least(400, "figure")),
        ),
    ),
    Load(
        "connection",
        connection,
        SERVERS,
        "",
        (
            Row(
                "connection",
                "a new connection for one cached manifest",
                "wall",
                "ms",
                at_most(2, "figure"),
            ),
            Row("connection-cpu", "— CPU of the server", "cpu", "ms"),
        ),
    ),
)

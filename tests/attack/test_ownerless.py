"""Downloads that nobody waits for, or too many of them, cost the other registries nothing."""

import hashlib
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rig.faults import Exchange, FaultServer, Gate
from rig.images import KIB, MIB, incompressible
from rig.process import eventually
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "https://fault.example.test"
OTHER = "https://fault-cdn.example.test"
LIMIT = 24 * MIB
MOST_OF_ORIGIN = 128


def content(seed: str, size: int) -> bytes:
    return b"".join(incompressible(seed, size))


def readers(entrepot: Entrepot, name: str) -> int:
    """How many descriptors of the proxy are of an unfinished file; one writes it."""
    links = []
    for link in Path(f"/proc/{entrepot.pid}/fd").iterdir():
        try:
            links.append(os.readlink(link))  # noqa: PTH115 no path of this process
        except FileNotFoundError:
            continue
    return sum(name in link for link in links) - 1


def test_a_body_without_end_that_nobody_waits_for_evicts_nothing(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """Promise 8: once its clients have left it may have what is free, and ends there."""
    entrepot = start_entrepot(size=str(LIMIT))
    client = entrepot.client()
    paths = [faults.add_blob("app", content(f"kept {n}", 4 * MIB))[0] for n in range(4)]
    for path in paths:
        client.get(FAULT + path)
    client.await_stored(len(paths))
    gate = Gate(4 * KIB)

    def endless(exchange: Exchange) -> None:
        exchange.start(200, {})
        while True:
            exchange.write(bytes(gate.take(256 * KIB)))

    path = f"/v2/app/blobs/sha256:{hashlib.sha256(b'endless').hexdigest()}"
    faults.routes[path] = endless
    with client.open("GET", FAULT + path) as stream:
        assert stream.read_some(1000)
        stream.abort()
    eventually(lambda: readers(entrepot, ".part") == 0, what="no reader")
    gate.open()
    eventually(lambda: entrepot.counter("fetch_broken") == 1, what="its end")
    for path in paths:
        assert client.get(FAULT + path).cache_status == "entrepot; hit"
    assert list((entrepot.data / "partial").iterdir()) == []


def test_one_registry_does_not_have_all_downloads(entrepot: Entrepot, faults: FaultServer) -> None:
    """Promise 8: beyond its share its blobs are passed on unstored; others are stored as ever."""
    client, gate = entrepot.client(), Gate()
    with ExitStack() as stack:
        for number in range(MOST_OF_ORIGIN):
            path, handler = faults.add_blob("app", content(f"hangs {number}", 8 * KIB))
            handler.gate = gate
            gate.allow(1)
            stream = stack.enter_context(client.open("GET", FAULT + path))
            assert stream.status == 200
        path, one_more = faults.add_blob("app", content("one more", 8 * KIB))
        got = client.get(FAULT + path)
        assert (got.body, got.cache_status) == (
            one_more.body,
            "entrepot; fwd=miss; detail=unstored",
        )
        assert client.get(OTHER + path).cache_status == "entrepot; fwd=miss; stored"
        assert entrepot.log.count("downloads_full") == 1
        gate.open()
    client.await_stored(MOST_OF_ORIGIN + 1)
    path, _ = faults.add_blob("app", content("after them", 8 * KIB))
    assert client.get(FAULT + path).cache_status == "entrepot; fwd=miss; stored"

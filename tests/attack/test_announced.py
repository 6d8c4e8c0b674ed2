"""What is only announced costs nobody a place in the cache: of a push, or by a registry itself."""

import hashlib
import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from rig.client import Client
from rig.faults import Content, Exchange, FaultServer, Gate, error, first, status
from rig.images import KIB, MIB, incompressible
from rig.process import eventually
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

HOST = "fault.example.test"
FAULT = f"https://{HOST}"
LIMIT = 32 * MIB
BLOB = 4 * MIB
PLACE = "/v2/app/blobs/uploads/"


def content(seed: str, size: int = BLOB) -> bytes:
    return b"".join(incompressible(seed, size))


def partials(entrepot: Entrepot) -> dict[str, int]:
    """The unfinished files and their sizes."""
    return {path.name: path.stat().st_size for path in (entrepot.data / "partial").iterdir()}


class Cached:
    """A proxy of 32 MiB that holds 28 of them."""

    def __init__(self, entrepot: Entrepot, faults: FaultServer) -> None:
        self.entrepot = entrepot
        self.client = entrepot.client()
        self.faults = faults
        self.paths = [faults.add_blob("app", content(f"kept {n}"))[0] for n in range(7)]
        for path in self.paths:
            assert self.how(path) == "fwd=miss; stored"
        self.stored(len(self.paths))

    def how(self, path: str) -> str:
        """Get a blob; what the proxy says of it."""
        answer = self.client.get(FAULT + path)
        assert hashlib.sha256(answer.body).hexdigest() == path.rpartition(":")[2]
        return answer.cache_status.removeprefix("entrepot; ")

    def stored(self, count: int) -> None:
        """Wait until so many blobs have been stored in all."""
        self.client.await_stored(count)

    def hits(self) -> int:
        """How many of the first blobs are still here; looking brings none back."""
        heads = [self.client.head(FAULT + path) for path in self.paths]
        return sum(head.cache_status == "entrepot; hit" for head in heads)

    def pull_new(self, seed: str, size: int = BLOB) -> str:
        """Pull what nobody has; what the proxy says of it the second time."""
        path, _ = self.faults.add_blob("app", content(seed, size))
        before = self.entrepot.counter("blob_stored")
        assert self.how(path).startswith("fwd=miss")
        self.stored(before + 1)
        return self.how(path)


@pytest.fixture
def cached(start_entrepot: "StartEntrepot", faults: FaultServer) -> Cached:
    return Cached(start_entrepot(size=str(LIMIT)), faults)


@contextmanager
def trickled(client: Client, announced: int, body: bytes) -> Iterator[ssl.SSLSocket]:
    """An upload, its body so far; it does not go on."""
    with client.tunnel(HOST) as tls:
        head = f"POST {PLACE}?digest=sha256:{'0' * 64} HTTP/1.1\r\nHost: {HOST}\r\n"
        tls.sendall(f"{head}Content-Length: {announced}\r\n\r\n".encode())
        tls.sendall(body)
        yield tls


def test_an_upload_that_is_only_announced_costs_nothing(
    cached: Cached, faults: FaultServer
) -> None:
    """Promise 9: a client without any right evicts nothing, and pulls and pushes are stored."""
    entrepot = cached.entrepot
    gate = Gate()

    def take(exchange: Exchange) -> None:
        if int(exchange.request.headers["content-length"]) > BLOB:
            gate.take(1)
            error(401, "UNAUTHORIZED", "log in")(exchange)
            exchange.hang_up()
        else:
            exchange.read_body()
            exchange.send(201)

    faults.routes[PLACE] = take
    with trickled(cached.client, LIMIT - MIB, bytes(2 * MIB)):
        eventually(
            lambda: any(size >= MIB for size in partials(entrepot).values()),
            what="an unfinished push",
        )
        assert cached.hits() == len(cached.paths)
        pushed = content("pushed", MIB)
        digest = f"sha256:{hashlib.sha256(pushed).hexdigest()}"
        answer = cached.client.request("POST", f"{FAULT}{PLACE}?digest={digest}", {}, pushed)
        assert answer.status == 201
        entrepot.await_stored([digest])
        assert cached.pull_new("pulled meanwhile") == "hit"
        assert cached.hits() >= len(cached.paths) - 3
        gate.open()
    eventually(lambda: partials(entrepot) == {}, what="nothing unfinished")


def test_bytes_that_no_registry_took_cost_nothing(cached: Cached, faults: FaultServer) -> None:
    """However many come: an eighth of the limit beside it is theirs, and that comes back."""
    entrepot = cached.entrepot

    def refuse(exchange: Exchange) -> None:
        exchange.read_body()
        error(401, "UNAUTHORIZED", "log in")(exchange)

    faults.routes[PLACE] = refuse
    for size in (3 * MIB, 31 * MIB):
        url = f"{FAULT}{PLACE}?digest=sha256:{'0' * 64}"
        assert cached.client.request("POST", url, {}, bytes(size)).status == 401
        assert cached.hits() == len(cached.paths)
    eventually(lambda: partials(entrepot) == {}, what="nothing unfinished")


def test_a_registry_that_only_announces_costs_nothing(cached: Cached, faults: FaultServer) -> None:
    """Promise 8: of what it does not send, nothing is evicted, and other blobs are stored."""
    entrepot = cached.entrepot
    path, handler = faults.add_blob("app", content("hangs", 30 * MIB))
    handler.gate = gate = Gate(64 * KIB)
    with cached.client.open("GET", FAULT + path) as stream:
        assert len(stream.read(KIB)) == KIB
        eventually(lambda: 64 * KIB in partials(entrepot).values(), what="some bytes")
        assert cached.hits() == len(cached.paths)
        assert cached.pull_new("pulled meanwhile", 8 * MIB) == "hit"
        stream.abort()
    gate.open()


def endless(size: int) -> Content:
    """Announces ``size`` bytes, and sends a few."""
    return Content(bytes(64 * KIB), length=size, cut_after=64 * KIB)


def test_what_can_never_fit_evicts_nothing(cached: Cached, faults: FaultServer) -> None:
    """Promise 7: sizes beyond all limits and numbers are passed on, not stored."""
    digest = f"sha256:{hashlib.sha256(bytes(64 * KIB)).hexdigest()}"
    path = f"/v2/app/blobs/{digest}"
    for size in (LIMIT + 1, 10**18, 10**19 - 1):
        faults.routes[path] = endless(size)
        with cached.client.open("GET", FAULT + path) as stream:
            assert (stream.status, stream.headers["Content-Length"]) == (200, str(size))
            assert stream.read(KIB) == bytes(KIB)
    assert partials(cached.entrepot) == {}

    def huge_rest(exchange: Exchange) -> None:
        start = exchange.request.range or "bytes=0-"
        at = int(start.removeprefix("bytes=").rstrip("-"))
        span = {"Content-Range": f"bytes {at}-{10**18}/{10**18 + 1}", "Content-Length": str(10**18)}
        exchange.start(206, span)
        exchange.write(bytes(1000))
        exchange.cut()

    faults.routes[path] = first(
        1, Content(bytes(64 * KIB), cut_after=10_000, reset=False), status(404)
    )
    with pytest.raises(http.client.IncompleteRead):
        cached.client.get(FAULT + path)
    eventually(lambda: 10_000 in partials(cached.entrepot).values(), what="a part")
    faults.routes[path] = huge_rest
    with cached.client.open("GET", FAULT + path) as stream:
        assert stream.status == 206
    assert cached.hits() == len(cached.paths)
    assert cached.entrepot.counter("store_full") >= 4


def test_unfinished_downloads_go_before_objects(cached: Cached, faults: FaultServer) -> None:
    """What nobody continues takes no place of what was verified."""
    entrepot = cached.entrepot
    path, handler = faults.add_blob("app", content("left", 6 * MIB))
    handler.cut_after, handler.reset = 3 * MIB, False
    faults.routes[path] = first(1, handler, status(404))
    with pytest.raises(http.client.IncompleteRead):
        cached.client.get(FAULT + path)
    eventually(lambda: list(partials(entrepot).values()) == [3 * MIB], what="a part")
    assert cached.pull_new("pulled", 3 * MIB) == "hit"
    assert cached.hits() == len(cached.paths)
    assert partials(entrepot) == {}

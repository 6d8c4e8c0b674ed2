"""Blobs as large as models are, in sparse files, which cost no disk.

They are put into the data folder while no proxy runs; whether their bytes are right is not known
to the test where that would take a minute of hashing. `--large-blob GIB` hashes one of them all.
"""

import hashlib
import http.client
import json
import os
import re
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.storage.store import Store
from rig.cached import command, told
from rig.client import Client
from rig.faults import Exchange, FaultServer
from rig.images import DOCKER_MANIFEST
from rig.page import Reader
from rig.ports import free_port
from rig.process import eventually

if TYPE_CHECKING:
    from conftest import StartEntrepot

GIB = 1024**3
FAULT = "https://fault.example.test"
APP = Repository(Origin.parse(FAULT), "models")
DAYS_AGO = 3 * 24 * 3600.0
LIMIT = "2TiB"


class Planted:
    """A stored blob of zeros, which was verified three days ago, behind a proxy that runs."""

    def __init__(
        self,
        start: "StartEntrepot",
        faults: FaultServer,
        size: int,
        digest: str | None = None,
        *,
        mirror: str | None = None,
    ) -> None:
        """`digest` None: one that zeros do not have."""
        self.size, self.digest = size, Digest.parse(digest or f"sha256:{'5' * 64}")
        self.proxy = start(size=LIMIT, mirror=mirror)
        self.proxy.terminate()
        store = Store(self.proxy.data, 2**41, lambda: time.time() - DAYS_AGO, trims=False)
        path = store.partials.download(APP.origin, self.digest)
        with path.open("wb") as file:
            file.truncate(size)
        kind = "application/vnd.ollama.image.model"
        store.blobs.commit(path, APP, self.digest, kind, given_to=ANYONE)
        layer = {"mediaType": kind, "digest": str(self.digest), "size": size}
        model = json.dumps({"schemaVersion": 2, "layers": [layer]}).encode()
        named = Digest.of(model)
        store.manifests.put(APP, named, model, DOCKER_MANIFEST, given_to=ANYONE)
        store.tags.set(APP, "70b", DOCKER_MANIFEST, named)
        store.close()
        (self.file,) = self.proxy.data.glob("blobs/??/??/*.val")
        faults.routes[f"/v2/models/blobs/{self.digest}"] = self._decide
        self.url = f"{FAULT}/v2/models/blobs/{self.digest}"

    def start(self) -> Client:
        self.proxy.start()
        return self.proxy.client()

    def _decide(self, exchange: Exchange) -> None:
        """The registry has it, and gives whoever asks its first byte; nothing else is asked."""
        assert exchange.request.range in (None, "bytes=0-0") or exchange.request.method == "HEAD"
        headers = {"Docker-Content-Digest": str(self.digest), "Content-Length": "1"}
        if exchange.request.range is None:
            exchange.send(404)
        else:
            exchange.start(206, {**headers, "Content-Range": f"bytes 0-0/{self.size}"})
            exchange.write(b"\0")

    def rehashed(self) -> int:
        return self.proxy.counter("blob_rehashed")


def digest_of_zeros(size: int) -> str:
    hasher, block = hashlib.sha256(), bytes(1 << 24)
    for start in range(0, size, len(block)):
        hasher.update(block[: size - start])
    return f"sha256:{hasher.hexdigest()}"


def test_a_blob_of_64_gib_is_served_at_once(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """Its verification takes a minute, and is in nobody's way; offsets beyond 4 GiB are right."""
    port = free_port()
    mirror = f"127.0.0.1:{port}=fault.example.test"
    planted = Planted(start_entrepot, faults, 64 * GIB, mirror=mirror)
    with planted.file.open("r+b") as file:
        state = planted.file.stat()
        os.pwrite(file.fileno(), b"weights", 63 * GIB + 5)
    os.utime(planted.file, ns=(state.st_atime_ns, state.st_mtime_ns))
    client = planted.start()
    head = client.head(planted.url)
    assert int(head.headers["Content-Length"]) == 64 * GIB
    part = client.get(planted.url, {"Range": f"bytes={63 * GIB + 5}-{63 * GIB + 11}"})
    assert (part.status, part.body) == (206, b"weights")
    assert part.headers["Content-Range"] == f"bytes {63 * GIB + 5}-{63 * GIB + 11}/{64 * GIB}"
    by_kernel = Reader(port).ask(
        "GET",
        planted.url.removeprefix(FAULT),
        {"Range": f"bytes={63 * GIB + 5}-{63 * GIB + 2**22}"},
    )
    assert by_kernel.body == b"weights" + bytes(2**22 + 1 - 5 - 7)
    assert client.get(planted.url, {"Range": "bytes=-3"}).body == bytes(3)
    for headers in ({}, {"Range": f"bytes={40 * GIB}-"}):
        with client.open("GET", planted.url, headers) as stream:
            assert stream.read(1 << 20) == bytes(1 << 20)
    assert planted.rehashed() == 0
    assert planted.proxy.local("/readyz").status == 200
    planted.proxy.kill9()
    client = planted.start()  # nothing of it is hashed before it is served
    assert client.get(planted.url, {"Range": "bytes=7-9"}).body == bytes(3)
    assert planted.rehashed() == 0


def test_a_blob_of_64_gib_gives_way_at_once(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """The limit counts all its bytes, though they take none here."""
    planted = Planted(start_entrepot, faults, 64 * GIB)
    second = start_entrepot(size="1GiB", data=str(planted.proxy.data))
    eventually(lambda: "objects_evicted" in second.log, what="evicted")
    assert not planted.file.exists()


def test_a_model_of_64_gib_is_listed_and_removed(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """In the commands, on the page, in the metrics: no number is too large for it."""
    planted = Planted(start_entrepot, faults, 64 * GIB)
    name = "fault.example.test/models:70b"
    (offline,) = told(planted.proxy, "ls")["images"]
    planted.start()
    (listed,) = told(planted.proxy, "ls")["images"]
    assert listed == offline
    assert (listed["names"], listed["size"] // GIB) == ([name], 64)
    assert "64.0 GiB" in Reader(planted.proxy.port).get("/ui/images").body.decode()
    metrics = planted.proxy.local("/metrics").body.decode()
    held = re.search(r"^entrepot_store_bytes ([0-9.e+]+)$", metrics, re.MULTILINE)
    assert held is not None
    assert float(held[1]) >= 64 * GIB
    assert command(planted.proxy, "rm", name).returncode == 0
    assert told(planted.proxy, "ls")["images"] == []
    assert not planted.file.exists()


def test_the_end_of_a_large_blob_waits_until_it_is_verified(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """It is hashed while it is sent, once a day, for all who ask."""
    size = GIB + 12_345
    planted = Planted(start_entrepot, faults, size, digest_of_zeros(size))
    client = planted.start()
    with client.open("GET", planted.url) as stream, client.open("GET", planted.url) as other:
        assert stream.status == 200
        left = size
        while block := stream.read_some(1 << 22):
            assert not block.strip(b"\0")
            left -= len(block)
        assert (left, planted.rehashed()) == (0, 1)
        assert other.read(10) == bytes(10)
    assert client.get(planted.url, {"Range": "bytes=0-9"}).body == bytes(10)
    assert planted.rehashed() == 1


def test_a_large_blob_that_rotted_is_never_whole(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """It is cut before its last byte, and is not there any more for who asks again."""
    planted = Planted(start_entrepot, faults, GIB + 12_345)
    client = planted.start()
    came = 0
    with client.open("GET", planted.url) as stream, suppress(http.client.IncompleteRead):
        while block := stream.read_some(1 << 22):
            came += len(block)
    assert came < planted.size
    eventually(lambda: "object_damaged" in planted.proxy.log, what="it was removed")
    assert client.get(planted.url).status == 404  # as this registry answers for the whole
    assert not planted.file.exists()


def test_parts_of_a_large_blob_that_was_written_to_wait(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """What somebody wrote is no slow disk's rot: not a byte of it is given before it is hashed."""
    planted = Planted(start_entrepot, faults, GIB + 12_345)
    with planted.file.open("r+b") as file:
        file.write(b"x")
    client = planted.start()
    assert client.get(planted.url, {"Range": "bytes=0-9"}).status != 206
    assert planted.rehashed() == 1
    assert "object_damaged" in planted.proxy.log


def test_parts_of_a_large_blob_that_was_copied_do_not_wait(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """A data folder that was moved to another disk has other inodes, and the same bytes."""
    planted = Planted(start_entrepot, faults, 64 * GIB)
    copy = planted.proxy.data / "copy"
    subprocess.run(["cp", "-a", "--sparse=always", planted.file, copy], check=True)
    copy.replace(planted.file)
    client = planted.start()
    assert client.get(planted.url, {"Range": f"bytes={50 * GIB}-{50 * GIB + 2}"}).body == bytes(3)
    assert planted.rehashed() == 0


def test_a_large_blob_from_end_to_end(
    start_entrepot: "StartEntrepot",
    faults: FaultServer,
    pytestconfig: pytest.Config,
) -> None:
    """All of it is sent, hashed and verified on demand, as long as that takes."""
    gib = pytestconfig.getoption("--large-blob")
    if not gib:
        pytest.skip("hashing takes seconds a GiB: --large-blob 64 does it")
    size = int(gib * GIB)
    planted = Planted(start_entrepot, faults, size, digest_of_zeros(size))
    client = planted.start()
    with client.open("GET", planted.url) as stream:
        left = size
        while block := stream.read_some(1 << 24):
            left -= len(block)
    assert (left, planted.rehashed()) == (0, 1)
    assert planted.file.stat().st_blocks == 0


def test_a_large_download_goes_on_at_once(
    start_entrepot: "StartEntrepot", faults: FaultServer, pytestconfig: pytest.Config
) -> None:
    """What an earlier process left is hashed while the rest comes, not before the first byte."""
    gib = pytestconfig.getoption("--large-blob")
    if not gib:
        pytest.skip("it takes as much disk, up to 8 GiB: --large-blob 8 does it")
    left = int(min(gib, 8) * GIB)
    size = left + (1 << 20)
    began = time.monotonic()
    digest = Digest.parse(digest_of_zeros(size))
    hashing = time.monotonic() - began
    proxy = start_entrepot(size=LIMIT)
    proxy.terminate()
    store = Store(proxy.data, 2**41, trims=False)
    with store.partials.download(APP.origin, digest).open("wb") as file:
        for _ in range(left >> 20):
            file.write(bytes(1 << 20))
    store.close()

    def zeros(exchange: Exchange) -> None:
        first, _, last = (exchange.request.range or "bytes=0-")[6:].partition("-")
        start, stop = int(first), int(last or size - 1) + 1
        span = f"bytes {start}-{stop - 1}/{size}"
        exchange.start(206, {"Content-Range": span, "Content-Length": str(stop - start)})
        exchange.write(bytes(stop - start))

    path = f"/v2/models/blobs/{digest}"
    faults.routes[path] = zeros
    proxy.start()
    with proxy.client().open("GET", FAULT + path) as stream:
        began = time.monotonic()
        assert stream.read(1 << 20) == bytes(1 << 20)
        assert time.monotonic() - began < hashing / 2
        came = 1 << 20
        while block := stream.read_some(1 << 22):
            came += len(block)
    assert came == size

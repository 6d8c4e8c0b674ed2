"""A failure of the cache is never a failure of the pull (promise 7), and a kill is no failure."""

import contextlib
import hashlib
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Client
from rig.disk import small_disk
from rig.faults import FaultServer, Gate
from rig.images import KIB, MIB, OCI_MANIFEST, Image, ImageFactory, incompressible
from rig.ports import free_port
from rig.process import eventually, program
from rig.proxy import PYTHON, Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "https://fault.example.test"


def content(seed: str, size: int) -> bytes:
    return b"".join(incompressible(seed, size))


def stored(entrepot: Entrepot, count: int) -> None:
    """Wait until so many blobs have been committed."""
    eventually(lambda: entrepot.counter("blob_stored") == count, what=f"{count} stored")


def pulls(client: Client, image: Image) -> bool:
    """Whether an image of the fault server comes whole."""
    base = f"{FAULT}/v2/app"
    manifest = client.manifest(f"{base}/manifests/1")
    blobs = [client.get(f"{base}/blobs/{blob.digest}") for blob in image.blobs]
    return manifest.body == image.root.body and all(
        answer.body == blob.read() for answer, blob in zip(blobs, image.blobs, strict=True)
    )


def fill(folder: Path) -> None:
    """Write until nothing more fits."""
    with (folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(64 * KIB)):
            pass


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold a database as another process would that forgot to end its transaction."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    with small_disk(folder / "disk", 24 * MIB) as mounted:
        yield mounted


def test_a_full_disk_stops_no_pull(
    disk: Path, start_entrepot: "StartEntrepot", images: ImageFactory, faults: FaultServer
) -> None:
    """Promise 7: with no byte free, cold and warm pulls go on, and the log says it once."""
    entrepot = start_entrepot(data=str(disk / "data"))
    client, image, cold = entrepot.client(), images.image("warm"), images.image("cold")
    faults.publish(image, "app", "1")
    assert pulls(client, image)
    stored(entrepot, len(image.blobs))
    fill(disk)
    assert pulls(client, image)
    faults.publish(cold, "app", "1")
    assert pulls(client, cold)
    assert pulls(client, cold)
    assert entrepot.log.count(" store_full ") + entrepot.log.count(" store_failed ") in (1, 2)


def test_a_disk_that_fills_in_the_middle_stops_no_pull(
    disk: Path, start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """Promise 7: a transfer whose file cannot grow goes on from upstream, whole and right."""
    client, body = start_entrepot(data=str(disk / "data")).client(), content("grows", 8 * MIB)
    path, handler = faults.add_blob("app", body)
    handler.gate = Gate(2 * MIB)
    with client.open("GET", FAULT + path) as stream:
        begun = stream.read(MIB)
        fill(disk)
        handler.gate.open()
        assert begun + stream.read() == body
    assert client.get(FAULT + path).body == body


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_blob_beyond_the_limit_is_served_and_not_stored(
    start_entrepot: "StartEntrepot", faults: FaultServer, *, chunked: bool
) -> None:
    """Promise 7: what can never be kept is passed on, as often as it is asked for."""
    entrepot = start_entrepot(size="1MiB")
    client, body = entrepot.client(), content("beyond", 2 * MIB)
    path, handler = faults.add_blob("app", body)
    handler.chunked = chunked
    for _ in range(2):
        answer = client.get(FAULT + path)
        assert (answer.body, "hit" in answer.cache_status) == (body, False)
    assert entrepot.counter("blob_stored") == 0
    eventually(lambda: not list((entrepot.data / "partial").iterdir()), what="nothing left")


def test_eviction_keeps_the_limit(start_entrepot: "StartEntrepot", faults: FaultServer) -> None:
    """What was used least recently goes before the limit is passed; the newest stays."""
    entrepot, limit = start_entrepot(size="3MiB"), 3 * MIB
    client = entrepot.client()
    paths = [faults.add_blob("app", content(f"evict {n}", 900 * KIB))[0] for n in range(6)]
    for number, path in enumerate(paths):
        client.get(FAULT + path)
        stored(entrepot, number + 1)
        files = [*entrepot.data.glob("blobs/??/??/*.val"), *entrepot.data.glob("partial/*")]
        assert sum(file.stat().st_size for file in files) <= limit
    hits = ["hit" in client.head(FAULT + path).cache_status for path in paths]
    assert hits[-2:] == [True, True]
    assert hits[:3] == [False, False, False]


@pytest.mark.parametrize("cache", ["blobs", "index"])
def test_a_locked_database_stops_no_pull(
    entrepot: Entrepot, client: Client, images: ImageFactory, faults: FaultServer, cache: str
) -> None:
    """Promise 7: while another process holds a database, pulls come from upstream."""
    warm, cold = images.image("unlocked"), images.image("locked")
    faults.publish(warm, "app", "1")
    assert pulls(client, warm)
    stored(entrepot, len(warm.blobs))
    with locked(entrepot.data / cache / "cache.db"):
        assert pulls(client, warm)
        faults.publish(cold, "app", "1")
        assert pulls(client, cold)
    assert pulls(client, cold)


def test_a_read_only_folder_stops_no_pull(
    entrepot: Entrepot, client: Client, images: ImageFactory, faults: FaultServer
) -> None:
    """Promise 7: where no download can be written, blobs pass through."""
    image, place = images.image("read-only"), entrepot.data / "partial"
    faults.publish(image, "app", "1")
    subprocess.run([program("mount"), "-t", "tmpfs", "-o", "ro", "rig", place], check=True)
    try:
        assert pulls(client, image)
        assert pulls(client, image)
    finally:
        subprocess.run([program("umount"), "--lazy", place], check=True)
    assert pulls(client, image)
    stored(entrepot, len(image.blobs))


def test_damaged_databases_stop_no_pull(
    entrepot: Entrepot, client: Client, images: ImageFactory, faults: FaultServer
) -> None:
    """Promise 7: tables that vanished under a running proxy are a cache that knows nothing."""
    image = images.image("damaged")
    faults.publish(image, "app", "1")
    for cache in ("blobs", "index"):
        with closing(sqlite3.connect(entrepot.data / cache / "cache.db")) as connection:
            connection.execute("DROP TABLE Cache")
            connection.commit()
    assert pulls(client, image)
    assert pulls(client, image)


def check_whole(data: Path) -> None:
    """Every row has its file, every file its row, and every blob hashes to its key."""
    with closing(sqlite3.connect(data / "blobs" / "cache.db")) as connection:
        rows = connection.execute("SELECT key, filename FROM Cache WHERE filename IS NOT NULL")
        named = {data / "blobs" / filename: key for key, filename in rows}
    assert set(data.glob("blobs/??/??/*.val")) == set(named)
    for file, key in named.items():
        if key.startswith("blob "):
            assert key == f"blob sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


def test_kill_9_leaves_only_whole_objects(entrepot: Entrepot, faults: FaultServer) -> None:
    """Promise 1: however often it is killed in a storm of pulls, rows and files agree after it."""
    bodies = {
        path: body
        for n in range(60)
        for body in [content(f"storm {n}", 300 * KIB)]
        for path in [faults.add_blob("app", body)[0]]
    }
    for kill in range(1, 5):
        client = entrepot.client(timeout=20)

        def pull(path: str, client: Client = client) -> None:
            with contextlib.suppress(Exception):  # the proxy is killed under it
                client.get(FAULT + path)

        with ThreadPoolExecutor(8) as pool:
            for path in list(bodies)[(kill - 1) * 12 :]:
                pool.submit(pull, path)
            eventually(partial(has_files, entrepot.data, kill * 8), what="committed")
            entrepot.kill9()
        entrepot.start()
        entrepot.await_put_right()
        check_whole(entrepot.data)
    client = entrepot.client()
    for path, body in bodies.items():
        assert client.get(FAULT + path).body == body


def has_files(data: Path, count: int) -> bool:
    """Whether at least so many blobs lie in the store."""
    return len(list(data.glob("blobs/??/??/*.val"))) >= count


def test_a_second_process_is_kept_out(entrepot: Entrepot) -> None:
    """One data folder, one process: the second ends with one line and exit status 1."""
    serve = [PYTHON, "-m", "entrepot.cli", "serve", "--listen", f"127.0.0.1:{free_port()}"]
    second = subprocess.run(
        [*serve, "--data", entrepot.data], capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert "another entrepot is using it" in line
    assert entrepot.local("/healthz").status == 200


def test_nobody_else_can_read_the_data(
    entrepot: Entrepot, client: Client, images: ImageFactory, faults: FaultServer
) -> None:
    """Promise 2: every file is 0600 and every folder 0700, during a fetch and after it."""
    image = images.image("modes")
    handlers = faults.publish(image, "app", "1")
    handlers[image.layers[0].digest].gate = gate = Gate(1000)
    client.manifest(f"{FAULT}/v2/app/manifests/1", {"Accept": OCI_MANIFEST})
    with client.open("GET", f"{FAULT}/v2/app/blobs/{image.layers[0].digest}") as stream:
        check_modes(entrepot.data)
        gate.open()
        stream.read()
    stored(entrepot, 1)
    check_modes(entrepot.data)


def check_modes(data: Path) -> None:
    """Look at every file and folder."""
    assert data.stat().st_mode & 0o777 == 0o700
    for path in data.rglob("*"):
        want = 0o700 if path.is_dir() else 0o600
        assert (path, oct(path.stat().st_mode & 0o777)) == (path, oct(want))

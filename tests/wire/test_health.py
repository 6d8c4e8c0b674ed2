"""Liveness, readiness and health: what monitors are told while an upstream or the disk fails."""

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rig.client import Answer, Client
from rig.disk import small_disk
from rig.faults import FaultServer, Gate, redirect, status
from rig.images import MIB, ImageFactory, incompressible
from rig.json_schema import problems
from rig.ports import free_port
from rig.process import eventually, program
from rig.proxy import Entrepot
from rig.requests import SECRET
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT, CDN, HUB = (f"https://{name}.example.test" for name in ("fault", "fault-cdn", "hub"))
TAG = f"{FAULT}/v2/app/manifests/1"
UPLOAD = "/v2/app/blobs/uploads/x"
UNKNOWN = f"{HUB}/v2/health/never-pushed/tags/list"  # tests share the registry behind it
AWAY = status(503, b"", {"Retry-After": "120"})
"""It names a time, so the answer is passed on at once; a bare 503 is asked again for 3.75 s."""
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/healthz.schema.json").read_text())


@pytest.fixture
def entrepot(start_entrepot: "StartEntrepot") -> Entrepot:
    """A proxy to which both are registries: the first request is the first that they get."""
    return start_entrepot(registry=["fault.example.test", "hub.example.test"], answer_timeout="3s")


def health(entrepot: Entrepot) -> dict[str, Any]:
    """What a monitor is told, by a page that is as documented."""
    answer = entrepot.local("/healthz")
    document: dict[str, Any] = json.loads(answer.body)
    assert list(problems(document, SCHEMA)) == []
    assert answer.status == (503 if document["status"] == "failing" else 200)
    return document


def upstream(entrepot: Entrepot, host: str = FAULT) -> dict[str, Any]:
    """How a host does."""
    found: dict[str, Any] = health(entrepot)["upstreams"][host]
    return found


def ready(entrepot: Entrepot) -> tuple[int, list[str]]:
    """The status of readiness, and what is in its way."""
    answer = entrepot.local("/readyz")
    return answer.status, [one["code"] for one in json.loads(answer.body)["reasons"]]


def is_ready(entrepot: Entrepot, *codes: str) -> None:
    """Wait until it is so: what was found counts for a second."""
    wanted = (503 if codes else 200, list(codes))
    eventually(lambda: ready(entrepot) == wanted, what=f"{wanted}")
    assert entrepot.local("/livez").status == 200


# Upstreams


def test_two_upstreams_in_trouble_show_at_their_first_failed_request(
    entrepot: Entrepot, client: Client, faults: FaultServer, upstreams: Upstreams
) -> None:
    """One that answers 503, one that refuses; and both when they are well again."""
    document = health(entrepot)
    assert (document["status"], document["upstreams"]) == ("ok", {})
    faults.routes["/v2/app/manifests/1"] = AWAY
    assert client.manifest(TAG).status == 503
    found = upstream(entrepot)
    assert (found["state"], found["breaker"]) == ("failing", "closed")
    assert (found["failures_in_a_row"], found["last_status"]) == (1, 503)
    assert (found["last_success"], found["last_failure"]["reason"]) == (None, "it answered 503")
    with upstreams.down():
        assert client.get(UNKNOWN).status == 502
        document = health(entrepot)
    refusing = document["upstreams"][HUB]
    assert (refusing["state"], refusing["last_status"]) == ("failing", None)
    assert refusing["last_failure"]["reason"] == "connection refused"
    (reason,) = document["reasons"]
    assert document["status"] == "degraded"
    assert reason == {"code": "upstreams", "reason": f"{FAULT} (failing), {HUB} (failing)"}
    assert ready(entrepot) == (200, []), "the proxy itself is well"
    faults.routes["/v2/app/manifests/1"] = status(404)
    assert (client.manifest(TAG).status, client.get(UNKNOWN).status) == (404, 404)
    document = health(entrepot)
    assert (document["status"], document["reasons"]) == ("ok", [])
    assert upstream(entrepot)["last_failure"]["reason"] == "it answered 503"


def test_what_passes_through_counts_too(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Pushes go over mitmproxy's own connections."""
    faults.routes[UPLOAD] = status(500)
    assert client.get(f"{FAULT}{UPLOAD}").status == 500
    found = upstream(entrepot)
    assert (found["state"], found["failures_in_a_row"]) == ("failing", 1)
    assert found["first_byte_ms"]["last"] > 0
    faults.routes[UPLOAD] = lambda exchange: exchange.cut()
    assert client.get(f"{FAULT}{UPLOAD}").status == 502
    found = upstream(entrepot)
    assert (found["last_status"], found["failures_in_a_row"]) == (500, 2)
    assert found["last_failure"]["reason"] == "the connection broke off"
    faults.routes[UPLOAD] = status(200, b"{}")
    assert client.get(f"{FAULT}{UPLOAD}").status == 200
    assert upstream(entrepot)["state"] == "ok"


def test_an_upstream_that_hangs_is_slow_until_it_answers(
    entrepot: Entrepot, client: Client, faults: FaultServer, images: ImageFactory
) -> None:
    image, mended = images.image("hangs"), threading.Event()
    tag = faults.publish(image, "app", "1")["1"]
    assert client.manifest(TAG).status == 200
    tag.wait = mended
    assert "stale" in client.manifest(TAG).cache_status
    found = upstream(entrepot)
    assert (found["state"], found["breaker"]) == ("slow", "slow")
    assert found["last_failure"]["reason"] == "it stopped answering"
    assert found["last_success"] is not None
    mended.set()
    eventually(lambda: client.manifest(TAG).cache_status.endswith("revalidated"), what="back")
    assert upstream(entrepot)["state"] == "ok"


def test_a_content_network_stands_for_itself(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """The registry that sends there does well; no word of a signed URL is told."""
    path, _ = faults.add_blob("app", b"elsewhere")
    faults.routes[path] = redirect(f"{CDN}/blob?sig={SECRET}")
    faults.routes["/blob"] = AWAY
    assert client.get(FAULT + path).status == 503
    found = health(entrepot)["upstreams"]
    assert [(host, one["state"]) for host, one in found.items()] == [
        (CDN, "failing"),
        (FAULT, "ok"),
    ]
    assert SECRET not in entrepot.local("/healthz").body.decode()


def test_a_body_that_breaks_off_shows_though_the_pull_goes_on(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    body = b"".join(incompressible("breaks off", MIB))
    path, handler = faults.add_blob("app", body)
    handler.cut_after, handler.cuts = MIB // 2, 1
    assert client.get(FAULT + path).body == body
    found = upstream(entrepot)
    assert (found["state"], found["failures_in_a_row"]) == ("ok", 0)
    assert found["last_failure"]["reason"] == "the connection broke off"


def test_a_host_that_is_no_registry_is_nobodys_trouble(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """Whoever names hosts that fail does not make the proxy look ill."""
    entrepot = start_entrepot()
    faults.routes["/v2/"] = status(503)
    stranger = entrepot.client()
    with pytest.raises(Exception, match=r"(?i)certificate"):  # it is tunnelled to
        stranger.get(f"{FAULT}/")
    assert " host_probed " in entrepot.log
    document = health(entrepot)
    assert (document["status"], document["upstreams"]) == ("ok", {})


# The pages


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_pages_are_the_same_on_every_port(
    start_entrepot: "StartEntrepot", faults: FaultServer, method: str
) -> None:
    """On a mirror's as on the proxy's own."""
    mirror = free_port()
    entrepot = start_entrepot(mirror=f"127.0.0.1:{mirror}")
    faults.routes = {}
    for path in ("/livez", "/readyz", "/healthz"):
        own, mirrors = (partial(_ask, method, port, path) for port in (entrepot.port, mirror))
        for answer in (own(), mirrors()):
            assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
            assert int(answer.headers["Content-Length"]) > 0
            assert bool(answer.body) is (method == "GET")
        # A start's last events may be counted between the one and the other.
        eventually(lambda: own().body == mirrors().body, what="the same")  # noqa: B023


def _ask(method: str, port: int, path: str) -> Answer:
    """Ask what the proxy itself answers at a port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with closing(connection):
        connection.request(method, path)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


# The store


@pytest.mark.parametrize("cache", ["blobs", "index"])
def test_a_database_that_another_holds_is_in_the_way(entrepot: Entrepot, cache: str) -> None:
    """Nobody has to pull to find out; pulls go on, so it is alive and no more than degraded."""
    is_ready(entrepot)
    database = entrepot.data / cache / "cache.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        is_ready(entrepot, "store_busy")
        assert health(entrepot)["status"] == "degraded"
        other.execute("ROLLBACK")
    is_ready(entrepot)
    assert health(entrepot)["status"] == "ok"


def test_a_table_that_is_gone_is_in_the_way(entrepot: Entrepot) -> None:
    with closing(sqlite3.connect(entrepot.data / "index" / "cache.db")) as other:
        other.execute("DROP TABLE Cache")
    is_ready(entrepot, "store_failed")


def test_a_folder_that_cannot_be_written_is_in_the_way(entrepot: Entrepot) -> None:
    """And is no more once it can be."""
    place = entrepot.data / "partial"
    subprocess.run([program("mount"), "-t", "tmpfs", "-o", "ro", "rig", place], check=True)
    try:
        is_ready(entrepot, "read_only")
    finally:
        subprocess.run([program("umount"), "--lazy", place], check=True)
    is_ready(entrepot)


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    with small_disk(folder / "disk", 24 * MIB) as mounted:
        yield mounted


def test_a_full_disk_is_in_the_way(disk: Path, start_entrepot: "StartEntrepot") -> None:
    """Also while some bytes are left, where nothing that is stored can make up the reserve."""
    entrepot = start_entrepot(data=str(disk / "data"))
    is_ready(entrepot)
    filler = disk / "filler"
    with filler.open("wb") as file:
        left = _free(disk)
        file.write(bytes(left - MIB))
    assert 0 < _free(disk) <= MIB
    is_ready(entrepot, "disk_full")
    fill(disk)
    is_ready(entrepot, "disk_full")
    document = health(entrepot)
    assert document["reasons"] == [{"code": "disk_full", "reason": "the disk is full"}]
    filler.unlink()
    (disk / "rest").unlink()
    is_ready(entrepot)


def fill(disk: Path) -> None:
    """Write until nothing more fits."""
    with (disk / "rest").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def _free(disk: Path) -> int:
    state = os.statvfs(disk)
    return state.f_bavail * state.f_frsize


# The end


def test_a_stop_is_told_while_what_runs_goes_on(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """It takes no pulls any more, and lives until the last transfer has ended."""
    body = b"".join(incompressible("draining", MIB))
    path, handler = faults.add_blob("app", body)
    handler.gate = gate = Gate(MIB // 2)
    with client.open("GET", FAULT + path) as stream:
        begun = stream.read(MIB // 4)
        entrepot.daemon.signal(signal.SIGTERM)
        is_ready(entrepot, "draining")
        document = health(entrepot)
        assert (document["status"], document["reasons"][0]["code"]) == ("failing", "draining")
        gate.open()
        assert begun + stream.read() == body
    assert entrepot.daemon.wait(20) == 0

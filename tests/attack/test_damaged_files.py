"""Files damaged at rest: nothing corrupt passes as whole, and one line says what happened.

They are damaged as disks, kills and other programs do it, below a running proxy and between two
starts.
"""

import hashlib
import json
import os
from collections import Counter
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from attack.damage import (
    FAULT,
    Damage,
    add,
    change,
    counters,
    damage_lines,
    file_of,
    flip,
    store,
)
from rig.faults import Exchange, FaultServer, Handler, error, status
from rig.images import MIB, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

pytestmark = pytest.mark.wire


def rot(entrepot: Entrepot, body: bytes, *, verified: float) -> None:
    """Turn a bit as a disk does: nothing that the file system knows of the file has changed."""
    file, digest = file_of(entrepot, body), f"sha256:{hashlib.sha256(body).hexdigest()}"
    flip(file, len(body) // 2)
    state = file.stat()
    tag = {
        "type": "application/octet-stream",
        "size": len(body),
        "file": [state.st_ino, state.st_mtime_ns, state.st_ctime_ns],
        "verified": verified,
    }
    sql = "UPDATE Cache SET tag = ? WHERE key = ?"
    change(entrepot.data / "blobs", sql, json.dumps(tag), f"blob {digest}")


def replace(path: Path) -> None:
    """Another file under the name, as a restored backup is."""
    size = path.stat().st_size
    path.unlink()
    path.write_bytes(b"x" * size)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Damage] = {
    "flipped at the start": lambda path: flip(path, 0),
    "flipped at the end": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "other bytes": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "replaced": replace,
    "a folder": make_folder,
    "missing": Path.unlink,
}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_a_damaged_file_is_fetched_again(
    entrepot: Entrepot, faults: FaultServer, *, restarted: bool
) -> None:
    """Whatever became of a stored file, the next client gets the right bytes, and a hit after it.

    Damage is found before the first byte leaves: the transfer is not even cut.
    """
    client = entrepot.client()
    blobs = {name: add(faults, f"{name} {restarted}") for name in DAMAGES}
    store(entrepot, client, *(url for url, _ in blobs.values()))
    files = {name: file_of(entrepot, body) for name, (_, body) in blobs.items()}
    if restarted:
        entrepot.terminate()
    for name, damage in DAMAGES.items():
        damage(files[name])
    if restarted:
        entrepot.start()
    before = entrepot.counter("blob_stored")
    for name, (url, body) in blobs.items():
        answer = client.get(url)
        assert (name, answer.body == body) == (name, True)
        assert (name, answer.cache_status) == (name, "entrepot; fwd=miss; stored")
    eventually(lambda: entrepot.counter("blob_stored") == before + len(blobs), what="stored")
    for url, body in blobs.values():
        answer = client.get(url)
        assert (answer.body == body, answer.cache_status) == (True, "entrepot; hit")
    assert len(damage_lines(entrepot)) >= 6
    assert "Traceback" not in entrepot.log


def test_a_touched_file_is_verified_once(entrepot: Entrepot, faults: FaultServer) -> None:
    """A backup that changes times costs one hash pass, no fetch; HEAD costs none."""
    client = entrepot.client()
    url, body = add(faults, "touched")
    store(entrepot, client, url)
    assert client.get(url).body == body
    assert entrepot.counter("blob_rehashed") == 0
    os.utime(file_of(entrepot, body), (2**32, 2**32))  # in the future, as a wrong clock leaves it
    assert client.head(url).headers["Age"] == "0"
    assert entrepot.counter("blob_rehashed") == 0
    for _ in range(2):
        answer = client.get(url)
        assert (answer.body == body, answer.cache_status) == (True, "entrepot; hit")
        assert answer.headers["Age"] == "0"
    assert entrepot.counter("blob_rehashed") == 1


def test_who_may_not_have_a_blob_does_not_make_it_be_verified(
    entrepot: Entrepot, faults: FaultServer
) -> None:
    """Promise 2: neither the time of a hash nor a counter tells an outsider that it is here."""
    alice, eve = {"Authorization": "Basic YQ=="}, {"Authorization": "Basic ZQ=="}
    refused = error(401, "UNAUTHORIZED", "who are you?", {"WWW-Authenticate": 'Basic realm="x"'})
    page = status(200, b"<html>sign in</html>", {"Content-Type": "text/html"})
    client = entrepot.client()

    def for_alice(url: str, instead: Handler) -> None:
        path = url.removeprefix(FAULT)
        content = faults.routes[path]

        def answer(exchange: Exchange) -> None:
            known = exchange.request.authorization == alice["Authorization"]
            (content if known else instead)(exchange)

        faults.routes[path] = answer

    def counted(url: str, fields: dict[str, str]) -> Counter[str]:
        """What an outsider's request adds to the counters."""
        before = counters(entrepot)
        try:
            assert client.get(url, fields | eve).status in (200, 401, 502)
        except HTTPException:
            assert url in (other, absent_there)  # a page in the place of a blob is cut
        return counters(entrepot) - before

    url, body = add(faults, "touched, private")
    other, other_body = add(faults, "touched, behind a sign-on")
    absent, absent_there = add(faults, "never pulled")[0], add(faults, "nor this")[0]
    for one, instead in ((url, refused), (absent, refused), (other, page), (absent_there, page)):
        for_alice(one, instead)
    wanted = entrepot.counter("blob_stored") + 2
    for one in (url, other):
        client.get(one, alice)
    eventually(lambda: entrepot.counter("blob_stored") >= wanted, what="stored")
    for content in (body, other_body):
        os.utime(file_of(entrepot, content), (2**32, 2**32))
    for fields in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": "*"}):
        assert counted(url, fields) == counted(absent, fields)
        counted(other, fields)
    assert entrepot.counter("blob_rehashed") == 0
    for number, (one, content) in enumerate(((url, body), (other, other_body)), 1):
        answer = client.get(one, alice)
        assert (answer.body == content, answer.cache_status) == (True, "entrepot; hit")
        assert entrepot.counter("blob_rehashed") == number


@pytest.mark.parametrize("verified", [0.0, 2.0**40], ids=["long ago", "in the future"])
def test_rot_is_found_before_it_is_served(
    entrepot: Entrepot, faults: FaultServer, verified: float
) -> None:
    """A bit that the disk turned shows at the first hit of the day, a wrong clock or not."""
    client = entrepot.client()
    url, body = add(faults, f"rot {verified}")
    store(entrepot, client, url)
    rot(entrepot, body, verified=verified)
    answer = client.get(url)
    assert (answer.body == body, "fwd=miss" in answer.cache_status) == (True, True)
    (line,) = damage_lines(entrepot)
    assert "its bytes do not hash to the digest" in line


def test_scrubbing_finds_rot_that_nobody_asks_for(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """What is damaged goes, with one line; what is sound stays and is not asked for upstream."""
    entrepot = start_entrepot(scrub="1s")
    client = entrepot.client()
    (bad, bad_body), (good, good_body) = add(faults, "scrubbed"), add(faults, "sound")
    store(entrepot, client, bad, good)
    rot(entrepot, bad_body, verified=0.0)
    eventually(lambda: damage_lines(entrepot), what="found")
    eventually(lambda: entrepot.counter("blob_scrubbed") >= 2, what="both read")
    faults.reset()
    assert client.get(good).body == good_body
    assert client.get(bad).status == 404
    assert len(damage_lines(entrepot)) == 1


def test_rows_of_an_earlier_version_count_as_never_verified(
    entrepot: Entrepot, faults: FaultServer
) -> None:
    """A folder that was written before there were verifications is kept, and verified on use."""
    client = entrepot.client()
    url, body = add(faults, "earlier")
    store(entrepot, client, url)
    entrepot.terminate()
    tag = json.dumps({"type": "application/octet-stream", "size": len(body)})
    change(entrepot.data / "blobs", "UPDATE Cache SET tag = ? WHERE filename IS NOT NULL", tag)
    entrepot.start()
    answer = client.get(url)
    assert (answer.body == body, answer.cache_status) == (True, "entrepot; hit")
    assert entrepot.counter("blob_rehashed") == 1


def test_a_file_that_shrinks_while_it_is_served_is_continued_from_upstream(
    entrepot: Entrepot, faults: FaultServer
) -> None:
    """A transfer whose file the disk loses goes on from the registry; the next one is a miss."""
    client = entrepot.client()
    url, body = add(faults, "shrinks", 24 * MIB)
    store(entrepot, client, url)
    with client.open("GET", url) as stream:
        begun = stream.read(MIB)
        os.truncate(file_of(entrepot, body), 0)
        assert begun + stream.read() == body
    assert " blob_lost " in entrepot.log
    answer = client.get(url)
    assert (answer.body == body, "hit" in answer.cache_status) == (True, False)


def test_damaged_manifests_are_fetched_again(
    entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """A manifest is hashed at every hit: other bytes in its row are a miss and one line."""
    client, image = entrepot.client(), images.image("damaged manifest")
    faults.publish(image, "app", "1")
    url = f"{FAULT}/v2/app/manifests/{image.root.digest}"
    client.manifest(url)
    assert client.manifest(url).cache_status == "entrepot; hit"
    for damaged in (b"", b"{}", bytes([image.root.body[0] ^ 1]) + image.root.body[1:]):
        sql = "UPDATE Cache SET value = ? WHERE key LIKE 'manifest %'"
        change(entrepot.data / "blobs", sql, damaged)
        answer = client.manifest(url)
        assert (answer.body, "fwd=miss" in answer.cache_status) == (image.root.body, True)
        assert client.manifest(url).cache_status == "entrepot; hit"
    assert len(damage_lines(entrepot)) == 3

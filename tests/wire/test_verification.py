"""Nothing corrupt is ever stored or served, whatever an upstream or a disk does (promise 1)."""

import hashlib
import http.client
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from rig.client import Client
from rig.faults import Content, FaultServer, Gate, Handler, first, status
from rig.images import MIB, OCI_MANIFEST, incompressible
from rig.process import eventually
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "https://fault.example.test"
BODY = b"".join(incompressible("verification", MIB))
WRONG = BODY[:-1] + bytes([BODY[-1] ^ 1])
CUT = (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError)

SPOILT: dict[str, Callable[[], Content]] = {
    "a flipped bit": lambda: Content(WRONG),
    "a flipped bit, chunked": lambda: Content(WRONG, chunked=True),
    "short": lambda: Content(BODY[:-10]),
    "short, chunked": lambda: Content(BODY[:-10], chunked=True),
    "long": lambda: Content(BODY + b"more"),
    "long, chunked": lambda: Content(BODY + b"more", chunked=True),
    "empty": lambda: Content(b""),
    "a Content-Length that is too small": lambda: Content(BODY, length=MIB - 10),
}
BROKEN: dict[str, Callable[[], Content]] = {
    "a Content-Length that is too large": lambda: Content(BODY, length=MIB + 10, cut_after=MIB),
    "cut": lambda: Content(BODY, cut_after=MIB - 10),
    "cut, chunked": lambda: Content(BODY, chunked=True, cut_after=MIB - 10),
}


def blob(faults: FaultServer, handler: Handler) -> str:
    """Let `handler` answer for BODY; return the path."""
    path, _ = faults.add_blob("app", BODY)
    faults.routes[path] = handler
    return path


def is_cut(client: Client, url: str, headers: dict[str, str] | None = None) -> bool:
    """Whether a client can tell that what it got is not whole, or is told so."""
    try:
        answer = client.get(url, headers)
    except CUT:
        return True
    return answer.status == 502


def next_is_fetched(client: Client, faults: FaultServer, path: str) -> bool:
    """Whether the blob is fetched, whole and right, now that upstream is well again."""
    faults.routes[path] = Content(BODY)
    answer = client.get(FAULT + path)
    return answer.body == BODY and "hit" not in answer.cache_status


@pytest.mark.parametrize("name", SPOILT)
def test_wrong_bytes_are_cut_counted_and_forgotten(
    entrepot: Entrepot, client: Client, faults: FaultServer, name: str
) -> None:
    """Promise 1: no client takes wrong bytes for whole, and nothing of them is kept."""
    path = blob(faults, SPOILT[name]())
    assert is_cut(client, FAULT + path)
    eventually(lambda: entrepot.counter("digest_mismatched") == 1, what="counted")
    assert entrepot.counter("blob_stored") == 0
    assert list((entrepot.data / "partial").iterdir()) == []
    assert next_is_fetched(client, faults, path)


@pytest.mark.parametrize("name", BROKEN)
def test_a_body_that_never_ends_is_cut(
    entrepot: Entrepot, client: Client, faults: FaultServer, name: str
) -> None:
    """Promise 1: what upstream did not finish is not finished here either."""
    path = blob(faults, first(1, BROKEN[name](), status(404)))
    assert is_cut(client, FAULT + path)
    eventually(lambda: entrepot.counter("fetch_broken") == 1, what="counted")
    assert entrepot.counter("blob_stored") == 0
    assert next_is_fetched(client, faults, path)


@pytest.mark.parametrize("wanted", ["bytes=0-", f"bytes={MIB - 5}-"])
def test_what_resumes_a_transfer_of_wrong_bytes_is_cut(
    client: Client, faults: FaultServer, wanted: str
) -> None:
    """Promise 1: the rest of a blob is not whole before the blob is verified."""
    path = blob(faults, Content(WRONG))
    assert is_cut(client, FAULT + path, {"Range": wanted})
    assert next_is_fetched(client, faults, path)


@pytest.mark.parametrize("wanted", ["bytes=10-19", "bytes=0-0", "bytes=-1"])
def test_a_part_of_wrong_bytes_is_the_registrys_and_is_not_kept(
    entrepot: Entrepot, client: Client, faults: FaultServer, wanted: str
) -> None:
    """Who asks for a part verifies by itself; what it is a part of is never stored."""
    path = blob(faults, Content(WRONG))
    answer = client.get(FAULT + path, {"Range": wanted})
    assert answer.cache_status == "entrepot; fwd=miss; detail=range"
    assert answer.body in WRONG
    eventually(lambda: entrepot.counter("digest_mismatched") == 1, what="counted")
    assert entrepot.counter("blob_stored") == 0
    assert list((entrepot.data / "partial").iterdir()) == []
    assert next_is_fetched(client, faults, path)


def test_followers_of_wrong_bytes_are_cut_as_well(client: Client, faults: FaultServer) -> None:
    """Promise 1: it does not matter who began the fetch."""
    content = Content(WRONG, gate=Gate(MIB // 2))
    path = blob(faults, content)
    with client.open("GET", FAULT + path) as leader, client.open("GET", FAULT + path) as follower:
        assert follower.headers["Cache-Status"].endswith("collapsed")
        assert content.gate is not None
        content.gate.open()
        for stream in (leader, follower):
            with pytest.raises(CUT):
                stream.read()


def test_wrong_bytes_that_cannot_be_stored_are_cut(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """Promise 1: a blob larger than the limit is verified on its way."""
    client = start_entrepot(size="100KiB").client()
    path = blob(faults, Content(WRONG))
    assert is_cut(client, FAULT + path)
    assert next_is_fetched(client, faults, path)


def test_a_wrong_docker_content_digest_is_not_believed(client: Client, faults: FaultServer) -> None:
    """Promise 1: the digest of the URL decides, a header's is neither believed nor passed on."""
    other = f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    path = blob(faults, Content(BODY, digest=other))
    for _ in range(2):
        answer = client.get(FAULT + path)
        assert (answer.body, answer.digest) == (BODY, path.rpartition("/")[2])


def test_a_wrong_manifest_is_not_served(client: Client, faults: FaultServer) -> None:
    """Promise 1: a manifest that does not hash to the digest it was asked by is an error."""
    right = b'{"schemaVersion": 2, "config": {}, "layers": []}'
    url = f"/v2/app/manifests/sha256:{hashlib.sha256(right).hexdigest()}"
    faults.routes[url] = Content(right + b" ", OCI_MANIFEST)
    try:
        answer = client.manifest(FAULT + url)
    except CUT:
        pass
    else:
        assert answer.status == 502
    faults.routes[url] = Content(right, OCI_MANIFEST)
    for how in ("fwd=miss", "hit"):
        answer = client.manifest(FAULT + url)
        assert (answer.status, answer.body, how in answer.cache_status) == (200, right, True)


@pytest.mark.parametrize("size", [0, MIB - 1, MIB + 1], ids=["empty", "shorter", "longer"])
def test_a_file_of_another_size_is_not_served(
    entrepot: Entrepot, client: Client, faults: FaultServer, size: int
) -> None:
    """Promise 1: a stored file that the disk lost some of is fetched again."""
    path = blob(faults, Content(BODY))
    client.get(FAULT + path)
    eventually(lambda: entrepot.counter("blob_stored") == 1, what="stored")
    assert "hit" in client.head(FAULT + path).cache_status
    (file,) = entrepot.data.glob("blobs/??/??/*.val")
    with file.open("r+b") as opened:
        opened.truncate(size)
    answer = client.get(FAULT + path)
    assert (answer.body, "hit" in answer.cache_status) == (BODY, False)
    eventually(lambda: entrepot.counter("blob_stored") == 2, what="stored again")
    assert "hit" in client.get(FAULT + path).cache_status


def test_a_file_that_is_gone_is_fetched_again(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 7: a stored file that somebody removed is a miss."""
    path = blob(faults, Content(BODY))
    client.get(FAULT + path)
    eventually(lambda: entrepot.counter("blob_stored") == 1, what="stored")
    (file,) = entrepot.data.glob("blobs/??/??/*.val")
    file.unlink()
    assert client.get(FAULT + path).body == BODY

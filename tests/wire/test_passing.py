"""What is not cached passes through as it is: pushes, deletes and lists, streamed both ways."""

import hashlib
import json
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest

from rig.client import Client
from rig.faults import Exchange, FaultServer, error, status
from rig.images import MIB, OCI_MANIFEST, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

HUB = "https://hub.example.test"
FAULT = "https://fault.example.test"
BLOB = b"a layer, pushed through the proxy"
DIGEST = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
OCTETS = {"Content-Type": "application/octet-stream"}


def begin(client: Client, repository: str, query: str = "") -> str:
    """Start an upload; return its location."""
    answer = client.request("POST", f"{HUB}/v2/{repository}/blobs/uploads/{query}")
    assert (answer.status, answer.cache_status) == (202, "entrepot; fwd=bypass; detail=upload")
    return urljoin(HUB, str(answer.headers["Location"]))


def test_a_monolithic_push(client: Client, upstreams: Upstreams) -> None:
    """POST and one PUT of a blob through the proxy put it into the registry."""
    place = begin(client, "push/one")
    put = client.request("PUT", f"{place}&digest={DIGEST}", OCTETS, BLOB)
    assert (put.status, put.cache_status) == (201, "entrepot; fwd=bypass; detail=upload")
    assert put.digest == DIGEST
    assert upstreams.host("hub.example.test").registry.blob_file(DIGEST).read_bytes() == BLOB


def test_a_push_in_chunks(client: Client, upstreams: Upstreams) -> None:
    """Several PATCHes and a PUT without content put a blob together in the registry."""
    place, content = begin(client, "push/chunks"), BLOB * 3
    for start in range(0, len(content), len(BLOB)):
        span = f"{start}-{start + len(BLOB) - 1}"
        patch = client.request("PATCH", place, {**OCTETS, "Content-Range": span}, BLOB)
        assert (patch.status, patch.cache_status) == (202, "entrepot; fwd=bypass; detail=upload")
        place = urljoin(HUB, patch.headers["Location"])
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert client.request("PUT", f"{place}&digest={digest}").status == 201
    assert upstreams.host("hub.example.test").registry.blob_file(digest).read_bytes() == content


def test_a_push_without_a_length(client: Client, upstreams: Upstreams) -> None:
    """A PATCH in chunked coding arrives whole."""
    place, content = begin(client, "push/stream"), BLOB * 5
    patch = client.request("PATCH", place, OCTETS, iter([BLOB] * 5))
    assert patch.status == 202
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    place = urljoin(HUB, patch.headers["Location"])
    assert client.request("PUT", f"{place}&digest={digest}").status == 201
    assert upstreams.host("hub.example.test").registry.blob_file(digest).read_bytes() == content


def test_a_mount_from_another_repository(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A mount is upstream's to grant, and the blob is then pulled from the new repository."""
    image = images.image("mounted")
    upstreams.push(image, "hub.example.test/mount/source:1")
    digest = image.layers[0].digest
    query = f"?mount={digest}&from=mount/source"
    answer = client.request("POST", f"{HUB}/v2/mount/target/blobs/uploads/{query}")
    assert (answer.status, answer.digest) == (201, digest)
    assert client.get(f"{HUB}/v2/mount/target/blobs/{digest}").body == image.layers[0].read()


def test_a_pushed_image_is_pulled_back(client: Client) -> None:
    """What was pushed through the proxy is there for the next pull."""
    place = begin(client, "push/back")
    client.request("PUT", f"{place}&digest={DIGEST}", OCTETS, BLOB)
    url = f"{HUB}/v2/push/back/blobs/{DIGEST}"
    assert client.get(url).body == BLOB


def test_an_upload_that_upstream_refuses(client: Client, faults: FaultServer) -> None:
    """The client gets upstream's own refusal of a push, though its body had come."""
    told = {"WWW-Authenticate": 'Basic realm="x"'}

    def refuse(exchange: Exchange) -> None:
        exchange.read_body()
        error(401, "UNAUTHORIZED", "you may not push here", told)(exchange)

    faults.routes["/v2/app/blobs/uploads/1"] = refuse
    answer = client.request("PATCH", f"{FAULT}/v2/app/blobs/uploads/1", OCTETS, BLOB)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, told["WWW-Authenticate"])
    assert b"you may not push here" in answer.body


def test_a_pushed_tag_is_asked_for_anew(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 5: after a PUT through the proxy a tag is what was put, as one HEAD confirms."""
    old, new = images.image("put-old"), images.image("put-new")
    upstreams.push(new, "hub.example.test/put:new")
    upstreams.push(old, "hub.example.test/put:1")
    url = f"{HUB}/v2/put/manifests/1"
    assert client.manifest(url).body == old.root.body
    put = client.request("PUT", url, {"Content-Type": new.root.media_type}, new.root.body)
    assert (put.status, put.cache_status) == (201, "entrepot; fwd=bypass; detail=manifest")
    mark = upstreams.mark()
    assert client.manifest(url).body == new.root.body
    seen = upstreams.requests(mark)
    assert [(one.method, one.status) for one in seen] == [("HEAD", 200)]


def test_a_deleted_manifest_is_gone_at_once(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: after a DELETE through the proxy a warm manifest is upstream's 404."""
    image = images.image("delete")
    upstreams.push(image, "hub.example.test/delete:1")
    url = f"{HUB}/v2/delete/manifests/{image.digest}"
    assert client.manifest(url).status == 200
    gone = client.request("DELETE", url)
    assert (gone.status, gone.cache_status) == (202, "entrepot; fwd=bypass; detail=manifest")
    assert client.manifest(url).status == 404


def test_a_deleted_blob_is_gone_at_once(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: after a DELETE through the proxy a warm blob is upstream's 404."""
    image = images.image("delete-blob")
    upstreams.push(image, "hub.example.test/delete-blob:1")
    url = f"{HUB}/v2/delete-blob/blobs/{image.layers[0].digest}"
    assert client.get(url).body == image.layers[0].read()
    assert client.request("DELETE", url).status == 202
    assert client.get(url).status == 404


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        ("/v2/", "ping"),
        ("/v2/_catalog", "catalog"),
        ("/v2/app/tags/list?n=2&last=a", "tags"),
        (f"/v2/app/referrers/{DIGEST}?artifactType=x", "referrers"),
        ("/v2/app/blobs/uploads/7", "upload"),
        ("/elsewhere", "other"),
    ],
)
def test_what_changes_is_asked_for_each_time(
    client: Client, faults: FaultServer, target: str, detail: str
) -> None:
    """Promise 5: lists and the like come from upstream each time, with every field of theirs."""
    path, _, query = target.partition("?")
    client.certificate("fault.example.test")
    told = {"Link": '</next>; rel="next"', "OCI-Filters-Applied": "artifactType"}
    for answer in (b"first", b"second"):
        faults.requests.clear()
        faults.routes[path] = status(200, answer, told)
        got = client.get(FAULT + target, {"Authorization": "Bearer mine"})
        assert (got.status, got.body) == (200, answer)
        assert {name: got.headers[name] for name in told} == told
        assert got.cache_status == f"entrepot; fwd=bypass; detail={detail}"
        (seen,) = faults.requests
        assert (seen.query, seen.authorization) == (query, "Bearer mine")


def test_tags_and_referrers_of_a_real_registry(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A pushed tag is in the registry's own list, as it is without the proxy."""
    image = images.image("listed")
    for tag in ("1", "2"):
        upstreams.push(image, f"hub.example.test/listed:{tag}")
    url = f"{HUB}/v2/listed/tags/list"
    tags = client.get(url).json()["tags"]
    assert isinstance(tags, list)
    assert sorted(tags) == ["1", "2"]  # distribution lists them as its disk does
    referrers = f"{HUB}/v2/listed/referrers/{image.digest}"
    assert client.get(referrers).status == upstreams.client().get(referrers).status


def _pieces(total: int) -> Iterator[bytes]:
    piece = bytes(range(256)) * (MIB // 256)
    return (piece for _ in range(total // MIB))


@pytest.mark.slow
@pytest.mark.unforked
def test_a_push_of_2_gib_does_not_grow_memory(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 6: a large upload passes through in bounded memory, whole, and is kept meanwhile."""
    total, received = 2048 * MIB, hashlib.sha256()

    def take(exchange: Exchange) -> None:
        left = int(exchange.request.headers.get("content-length", "0"))
        while left and (data := exchange._handler.rfile.read(min(left, MIB))):  # noqa: SLF001
            received.update(data)
            left -= len(data)
        exchange.send(202 if exchange.request.method == "PATCH" else 201)

    faults.routes["/v2/app/blobs/uploads/"] = status(202, b"", {"Location": "1"})
    faults.routes["/v2/app/blobs/uploads/1"] = take
    client.certificate("fault.example.test")
    assert client.request("POST", f"{FAULT}/v2/app/blobs/uploads/").status == 202
    entrepot.reset_rss_peak()
    headers = {**OCTETS, "Content-Length": str(total)}
    answer = client.request("PATCH", f"{FAULT}/v2/app/blobs/uploads/1", headers, _pieces(total))
    assert answer.status == 202
    sent = hashlib.sha256()
    for piece in _pieces(total):
        sent.update(piece)
    assert received.digest() == sent.digest()
    put = client.request("PUT", f"{FAULT}/v2/app/blobs/uploads/1?digest=sha256:{sent.hexdigest()}")
    assert put.status == 201
    # A disk that is slower than the push would have it given up, which is as well.
    outcomes = (f"blob_stored digest=sha256:{sent.hexdigest()}", "slower than the push")
    eventually(lambda: any(outcome in entrepot.log for outcome in outcomes), what="an outcome")
    assert entrepot.rss_peak() < 150 * MIB


@pytest.mark.unforked
def test_a_large_answer_that_is_not_cached_streams(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 6: what passes through downwards is not held either."""
    body = json.dumps({"pad": "x" * (64 * MIB)}).encode()
    faults.routes["/v2/_catalog"] = status(200, body, {"Content-Type": OCI_MANIFEST})
    client.certificate("fault.example.test")
    before = entrepot.rss()
    entrepot.reset_rss_peak()
    assert client.get(f"{FAULT}/v2/_catalog").body == body
    assert entrepot.rss_peak() - before < 32 * MIB

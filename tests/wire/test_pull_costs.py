"""What a whole pull asks of upstream: digests of both kinds, no encodings, few requests."""

import hashlib

import pytest

from rig.client import Client, basic
from rig.faults import Content, FaultServer, redirect
from rig.images import Image, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

FAULT, CDN = "https://fault.example.test", "https://fault-cdn.example.test"
BODY = b"a blob under either digest" * 2000


def pull(client: Client, base: str, image: Image, headers: dict[str, str]) -> None:
    """Pull an index, its manifests and all of their blobs, as a client does."""
    assert client.manifest(f"{base}/manifests/1", headers).digest == image.digest
    for manifest in image.manifests:
        answer = client.manifest(f"{base}/manifests/{manifest.digest}", headers)
        assert answer.body == manifest.body
    for blob in image.blobs:
        assert client.get(f"{base}/blobs/{blob.digest}", headers).body == blob.read()


def test_a_warm_pull_of_a_private_index_costs_one_head(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 3: what the tag's HEAD allows covers its manifests and all that these list."""
    image = images.multi_arch("cost")
    upstreams.push(image, "registry.example.test/private/cost:1")
    base = "https://registry.example.test/v2/private/cost"
    url = f"{base}/manifests/1"
    pull(client, base, image, {"Authorization": client.authorization(url, "alice", "wonderland")})
    count = len({blob.digest for blob in image.blobs})
    eventually(lambda: entrepot.log.count("blob_stored digest=") == count, what="stored")
    again = {"Authorization": client.authorization(url, "alice", "wonderland")}
    mark = upstreams.mark()
    pull(client, base, image, again)
    seen = upstreams.requests(mark)
    assert [(one.method, one.kind, one.status) for one in seen] == [("HEAD", "manifest", 200)]


@pytest.mark.parametrize("hosts", [[FAULT], [FAULT, CDN]], ids=["direct", "content network"])
def test_a_warm_blob_without_its_manifest_costs_one_question(
    entrepot: Entrepot, client: Client, faults: FaultServer, hosts: list[str]
) -> None:
    """Who asks for a blob alone costs one byte, and one request to each host on the way."""
    path, content = faults.add_blob("app", BODY)
    content.digest = None
    if CDN in hosts:
        faults.routes |= {path: redirect(f"{CDN}/signed"), "/signed": content}
    alice, bob = ({"Authorization": basic(name, "secret")} for name in ("alice", "bob"))
    assert client.get(FAULT + path, alice).body == BODY
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    assert client.get(FAULT + path, alice).body == BODY
    assert len(faults.requests) == 1 + len(hosts), "the ping, and the fetch"
    for _ in range(2):
        assert client.get(FAULT + path, bob).cache_status == "entrepot; hit"
    asked = faults.requests[1 + len(hosts) :]
    assert [f"https://{one.host}" for one in asked] == hosts
    assert [one.authorization for one in asked] == [bob["Authorization"], None][: len(hosts)]
    assert sum(one.sent for one in asked) == 1


def test_a_blob_under_sha512(entrepot: Entrepot, client: Client, faults: FaultServer) -> None:
    """A blob named by its sha512 is fetched once, verified, and then a hit."""
    digest = f"sha512:{hashlib.sha512(BODY).hexdigest()}"
    path = f"/v2/app/blobs/{digest}"
    faults.routes[path] = Content(BODY, digest=digest)
    assert client.get(FAULT + path).body == BODY
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    second = client.get(FAULT + path)
    assert (second.body, second.digest, second.cache_status) == (BODY, digest, "entrepot; hit")
    assert len(faults.of(path=path, method="GET")) == 1


def test_another_algorithm_passes_uncached(client: Client, faults: FaultServer) -> None:
    """Promise 1: a digest that we do not verify is upstream's to answer each time."""
    path = f"/v2/app/blobs/md5:{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"
    faults.routes[path] = Content(BODY)
    for _ in range(2):
        answer = client.get(FAULT + path)
        assert answer.body == BODY
        assert answer.cache_status == "entrepot; fwd=bypass; detail=other"
    assert len(faults.of(path=path, method="GET")) == 2


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_encoding_is_asked_for(client: Client, faults: FaultServer, method: str) -> None:
    """Promise 1: clients accept gzip; upstream is asked for the very bytes of the digest."""
    path, _ = faults.add_blob("app", BODY)
    answer = client.request(method, FAULT + path, {"Accept-Encoding": "gzip"})
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, None)
    assert {seen.headers["accept-encoding"] for seen in faults.of(path=path)} == {"identity"}

"""What clients get while a registry is down, limits them or fails: never old news, never a leak."""

import json

import pytest

from rig.client import Client
from rig.faults import FaultServer, error
from rig.images import OCI_MANIFEST, Image, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

FAULT = "https://fault.example.test"
BODY = b"a blob of a registry in trouble" * 1000


def pulled(
    entrepot: Entrepot, upstreams: Upstreams, image: Image, repository: str, *login: str
) -> tuple[str, str, str]:
    """Push and pull an image of the registry with tokens; its tag, its digest and a layer."""
    client = entrepot.client()
    upstreams.push(image, f"registry.example.test/{repository}:1")
    base = f"https://registry.example.test/v2/{repository}"
    tag, layer = f"{base}/manifests/1", f"{base}/blobs/{image.layers[0].digest}"
    headers = {"Authorization": client.authorization(tag, *login)}
    assert client.manifest(tag, headers).digest == image.digest
    assert client.get(layer, headers).body == image.layers[0].read()
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    return tag, f"{base}/manifests/{image.digest}", layer


def test_public_content_outlives_its_registry(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """What is public and named by its digest is served while the registry is down."""
    image = images.image("outlives")
    _, manifest, layer = pulled(entrepot, upstreams, image, "public/outlives")
    with upstreams.down():
        assert client.manifest(manifest).body == image.root.body
        assert client.get(layer).body == image.layers[0].read()


def test_private_content_is_kept_back_while_its_registry_is_down(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: where upstream cannot be asked, a credential it never allowed gets nothing."""
    image = images.image("kept-back")
    urls = pulled(entrepot, upstreams, image, "private/kept-back", "alice", "wonderland")
    bob = {"Authorization": client.authorization(urls[0], "bob", "builder")}
    with upstreams.down():
        for url in urls:
            for headers in ({}, bob):
                answer = client.manifest(url, headers)
                assert answer.status in (502, 503)  # the latter where that is known by now
                assert json.loads(answer.body)["errors"][0]["code"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (401, {"WWW-Authenticate": 'Basic realm="x"'}),
        (403, {}),
        (404, {}),
        (429, {"Retry-After": "30"}),
        (500, {"Retry-After": "30"}),
    ],
)
def test_an_error_for_a_blob_is_passed_on_and_forgotten(
    client: Client, faults: FaultServer, status: int, fields: dict[str, str]
) -> None:
    """A refused blob is told as it came, and is fetched as soon as upstream gives it."""
    path, content = faults.add_blob("app", BODY)
    faults.routes[path] = error(status, "TROUBLE", "in upstream's words", fields)
    answer = client.get(FAULT + path)
    assert answer.status == status
    assert {name: answer.headers[name] for name in fields} == fields
    assert b"in upstream's words" in answer.body
    faults.routes[path] = content
    assert client.get(FAULT + path).body == BODY


def test_a_tag_with_a_lying_digest_is_an_error(
    client: Client, faults: FaultServer, images: ImageFactory
) -> None:
    """Promise 1: a manifest that is not what upstream's own field says is neither served nor held.

    Under the digest that was claimed, the next client is asked for anew.
    """
    image, other = images.image("claimed"), images.image("sent")
    tag = faults.publish(image, "app", "1")["1"]
    tag.body = other.root.body
    answer = client.manifest(f"{FAULT}/v2/app/manifests/1")
    assert (answer.status, other.root.body in answer.body) == (502, False)
    tag.body = image.root.body
    right = client.manifest(f"{FAULT}/v2/app/manifests/{image.digest}")
    assert (right.body, right.headers["Content-Type"]) == (image.root.body, OCI_MANIFEST)
    assert right.cache_status == "entrepot; fwd=miss; stored"

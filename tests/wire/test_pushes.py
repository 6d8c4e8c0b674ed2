"""What is pushed through the proxy is there for the first pull, and a push never pays for it."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest

from rig.client import Client
from rig.faults import Exchange, FaultServer, status
from rig.images import ANY_MANIFEST, Image, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot
    from rig.proxy import Option

HUB = "https://hub.example.test"
PRIVATE = "https://registry.example.test"
FAULT = "https://fault.example.test"
OCTETS = {"Content-Type": "application/octet-stream"}
BLOB = bytes(range(256)) * 3000
DIGEST = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
Headers = dict[str, str]


def begin(client: Client, repository: str, headers: Headers, host: str = HUB) -> str:
    """Start an upload; return where it goes on."""
    answer = client.request("POST", f"{host}/v2/{repository}/blobs/uploads/", headers)
    assert answer.status == 202
    return urljoin(host, str(answer.headers["Location"]))


def put(client: Client, place: str, digest: str, body: bytes, headers: Headers) -> int:
    """Send the last request of an upload; the status of its answer."""
    mark = "&" if "?" in place else "?"
    return client.request("PUT", f"{place}{mark}digest={digest}", headers, body).status


def push_image(
    client: Client, image: Image, repository: str, headers: Headers, host: str = HUB
) -> None:
    """Push as clients do: blobs, then manifests, the root by tag."""
    for blob in image.blobs:
        place = begin(client, repository, headers, host)
        assert put(client, place, blob.digest, blob.read(), {**OCTETS, **headers}) == 201
    for manifest in image.manifests:
        reference = "1" if manifest is image.root else manifest.digest
        url = f"{host}/v2/{repository}/manifests/{reference}"
        kind = {"Content-Type": manifest.media_type, **headers}
        assert client.request("PUT", url, kind, manifest.body).status == 201


def pull_as_docker(
    client: Client, image: Image, repository: str, headers: Headers, host: str = HUB
) -> None:
    """HEAD of the tag, then all by digest; every byte must be right."""
    accept = {"Accept": ANY_MANIFEST, **headers}
    head = client.head(f"{host}/v2/{repository}/manifests/1", accept)
    assert (head.status, head.digest) == (200, image.digest)
    for manifest in image.manifests:
        got = client.get(f"{host}/v2/{repository}/manifests/{manifest.digest}", accept)
        assert (got.body, got.headers["Content-Type"]) == (manifest.body, manifest.media_type)
        assert got.cache_status == "entrepot; hit"
    for blob in image.blobs:
        got = client.get(f"{host}/v2/{repository}/blobs/{blob.digest}", headers)
        assert (got.body, got.cache_status) == (blob.read(), "entrepot; hit")


def pull_as_podman(
    client: Client, image: Image, repository: str, headers: Headers, host: str = HUB
) -> None:
    """GET by tag, and the blobs."""
    got = client.manifest(f"{host}/v2/{repository}/manifests/1", headers)
    assert (got.body, got.cache_status) == (image.root.body, "entrepot; hit; detail=revalidated")
    for blob in image.blobs:
        got = client.get(f"{host}/v2/{repository}/blobs/{blob.digest}", headers)
        assert (got.body, got.cache_status) == (blob.read(), "entrepot; hit")


@pytest.mark.parametrize("pull", [pull_as_docker, pull_as_podman])
def test_the_first_pull_after_a_push_costs_one_head(
    client: Client,
    upstreams: Upstreams,
    images: ImageFactory,
    pull: Callable[[Client, Image, str, Headers], None],
) -> None:
    """Blobs, manifests and the tag are here: one HEAD, no blob byte, no manifest GET upstream."""
    image, repository = images.image("pushed"), f"pushes/{pull.__name__}"
    push_image(client, image, repository, {})
    mark = upstreams.mark()
    pull(client, image, repository, {})
    seen = upstreams.requests(mark)
    assert [(one.method, one.kind) for one in seen] == [("HEAD", "manifest")], seen


def test_what_is_pushed_to_a_private_repository_stays_private(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: the pusher pulls for one HEAD; who has no right gets the registry's refusal."""
    image, repository = images.image("pushed-private"), "alice/pushed"
    place = f"{PRIVATE}/v2/{repository}/blobs/uploads/"
    challenge = client.request("POST", place).headers["WWW-Authenticate"]
    alice = {"Authorization": client.answer_to(challenge, "alice", "wonderland")}
    push_image(client, image, repository, alice, PRIVATE)
    url = f"{PRIVATE}/v2/{repository}/blobs/{image.layers[0].digest}"
    assert client.get(url).status == 401
    token = client.authorization(url)
    assert client.get(url, {"Authorization": token}).status == 401
    mark = upstreams.mark()
    pull_as_docker(client, image, repository, alice, PRIVATE)
    seen = upstreams.requests(mark)
    assert [(one.method, one.kind) for one in seen] == [("HEAD", "manifest")], seen
    assert client.get(url).status == 401


def test_a_mounted_layer_is_a_hit(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """What the registry took in once is known of the repository that it was mounted to."""
    image = images.image("pushed-mounted")
    push_image(client, image, "pushes/mount-source", {})
    for blob in image.blobs:
        query = f"?mount={blob.digest}&from=pushes/mount-source"
        url = f"{HUB}/v2/pushes/mount-target/blobs/uploads/{query}"
        assert client.request("POST", url).status == 201
    root = image.root
    url = f"{HUB}/v2/pushes/mount-target/manifests/1"
    assert client.request("PUT", url, {"Content-Type": root.media_type}, root.body).status == 201
    mark = upstreams.mark()
    pull_as_docker(client, image, "pushes/mount-target", {})
    assert upstreams.requests(mark).blob_bytes == 0


def in_patches(client: Client, place: str) -> str:
    for first in range(0, len(BLOB), 300_000):
        part = BLOB[first : first + 300_000]
        span = {"Content-Range": f"{first}-{first + len(part) - 1}"}
        answer = client.request("PATCH", place, {**OCTETS, **span}, part)
        assert answer.status == 202
        place = urljoin(HUB, answer.headers["Location"])
    return place


def as_a_stream(client: Client, place: str) -> str:
    pieces = (BLOB[first : first + 10_000] for first in range(0, len(BLOB), 10_000))
    answer = client.request("PATCH", place, OCTETS, pieces)
    assert answer.status == 202
    return urljoin(HUB, str(answer.headers["Location"]))


@pytest.mark.parametrize("send", [in_patches, as_a_stream])
def test_chunked_pushes_are_kept(
    client: Client,
    upstreams: Upstreams,
    entrepot: Entrepot,
    send: Callable[[Client, str], str],
) -> None:
    """PATCHes, each on a connection of its own, and a PUT without a body make a blob here too."""
    repository = f"pushes/{send.__name__.replace('_', '-')}"
    place = send(client, begin(client, repository, {}))
    assert put(client, place, DIGEST, b"", {}) == 201
    entrepot.await_stored([DIGEST])
    mark = upstreams.mark()
    got = client.get(f"{HUB}/v2/{repository}/blobs/{DIGEST}")
    assert (got.body, got.cache_status) == (BLOB, "entrepot; hit")
    assert upstreams.requests(mark).blob_bytes <= 1  # the decision: its first byte


def test_a_client_that_leaves_and_comes_back(
    client: Client, upstreams: Upstreams, entrepot: Entrepot
) -> None:
    """What came of the first upload is dropped, the next is kept."""
    place = begin(client, "pushes/left", {})
    connection = client.connection(HUB)
    target = place.removeprefix(HUB)
    connection.putrequest("PUT", f"{target}&digest={DIGEST}")
    connection.putheader("Content-Length", str(4 * len(BLOB)))
    connection.endheaders(BLOB * 3)
    eventually(lambda: len(_partials(entrepot)) == 1, what="an unfinished push")
    connection.close()
    eventually(lambda: _partials(entrepot) == [], what="nothing unfinished")
    place = begin(client, "pushes/left", {})
    assert put(client, place, DIGEST, BLOB, OCTETS) == 201
    entrepot.await_stored([DIGEST])
    assert _partials(entrepot) == []
    assert upstreams.host("hub.example.test").registry.blob_file(DIGEST).read_bytes() == BLOB


def test_a_push_that_the_registry_refuses_at_its_end(client: Client, entrepot: Entrepot) -> None:
    """The client gets the refusal, and nothing is kept, though all bytes had come."""
    wrong = f"sha256:{hashlib.sha256(b'something else').hexdigest()}"
    assert put(client, begin(client, "pushes/wrong", {}), wrong, BLOB, OCTETS) == 400
    for digest in (wrong, DIGEST):
        assert client.get(f"{HUB}/v2/pushes/wrong/blobs/{digest}").status == 404
    assert (_partials(entrepot), entrepot.counter("blob_stored")) == ([], 0)


def test_a_registry_that_takes_in_what_it_should_not(
    client: Client, faults: FaultServer, entrepot: Entrepot
) -> None:
    """Promise 1: a 201 to bytes that are not the digest's makes no blob here."""
    uploading(faults, final=201)
    assert put(client, begin(client, "app", {}, FAULT), DIGEST, BLOB[1:], OCTETS) == 201
    eventually(lambda: "push_unkept" in entrepot.log, what="push_unkept")
    assert client.get(f"{FAULT}/v2/app/blobs/{DIGEST}").status == 404
    assert (_partials(entrepot), entrepot.counter("blob_stored")) == ([], 0)


def test_a_restart_in_the_middle_of_an_upload(
    client: Client, upstreams: Upstreams, entrepot: Entrepot
) -> None:
    """The push goes on and is well; the blob is not kept, and nothing of it is left."""
    place = begin(client, "pushes/restart", {})
    half = len(BLOB) // 2
    answer = client.request("PATCH", place, OCTETS, BLOB[:half])
    place = urljoin(HUB, answer.headers["Location"])
    eventually(lambda: len(_partials(entrepot)) == 1, what="an unfinished push")
    entrepot.kill9()
    entrepot.start()
    assert _partials(entrepot) == []
    assert put(client, place, DIGEST, BLOB[half:], OCTETS) == 201
    got = client.get(f"{HUB}/v2/pushes/restart/blobs/{DIGEST}")
    assert (got.body, got.cache_status) == (BLOB, "entrepot; fwd=miss; stored")
    assert upstreams.host("hub.example.test").registry.blob_file(DIGEST).read_bytes() == BLOB


@pytest.mark.parametrize(
    "options", [{"no_keep_pushed": True}, {"size": "100KiB"}], ids=["turned off", "no room"]
)
def test_a_push_that_is_not_kept(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    options: "dict[str, Option]",
) -> None:
    """Promise 7: the push is well; the first pull fetches."""
    entrepot = start_entrepot(runner="serve", env=None, **options)
    client, repository = entrepot.client(), f"pushes/unkept-{len(options)}"
    assert put(client, begin(client, repository, {}), DIGEST, BLOB, OCTETS) == 201
    mark = upstreams.mark()
    assert client.get(f"{HUB}/v2/{repository}/blobs/{DIGEST}").body == BLOB
    assert upstreams.requests(mark).blob_bytes >= len(BLOB)
    assert ("push_unkept" in entrepot.log) is ("size" in options)


def uploading(faults: FaultServer, *, final: int) -> None:
    """Let the fault server take uploads of `app`: 202, and `final` to their last request."""
    place = "/v2/app/blobs/uploads/1"
    faults.routes["/v2/app/blobs/uploads/"] = status(202, b"", {"Location": place})

    def take(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.send(final)

    faults.routes[place] = take


def _partials(entrepot: Entrepot) -> list[str]:
    return [path.name for path in (entrepot.data / "partial").iterdir()]

"""Manifests through the proxy: by tag after a word of upstream's, by digest from the cache."""

import hashlib
import json
import threading
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from rig.client import Answer, Client
from rig.faults import Content, Exchange, FaultServer, Gate, error, redirect
from rig.images import (
    ANY_MANIFEST,
    DOCKER_MANIFEST,
    MIB,
    OCI_INDEX,
    OCI_MANIFEST,
    Image,
    ImageFactory,
)
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HOST = "https://fault.example.test"
TAG = "/v2/app/manifests/1"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


@pytest.fixture
def image(images: ImageFactory, faults: FaultServer) -> Image:
    """An image that upstream has as app:1."""
    image = images.image("manifests")
    faults.publish(image, "app", "1")
    return image


def by_digest(digest: str) -> str:
    return f"/v2/app/manifests/{digest}"


def asked(faults: FaultServer, path: str = TAG) -> list[str]:
    """The methods with which upstream was asked for a path, in order."""
    return [seen.method for seen in faults.of(path=path)]


def test_a_tag_is_fetched_once(client: Client, faults: FaultServer, image: Image) -> None:
    """The first pull by tag fetches, and its answer says so."""
    answer = client.manifest(HOST + TAG)
    assert (answer.status, answer.body) == (200, image.root.body)
    assert answer.digest == image.digest
    assert answer.cache_status == "entrepot; fwd=miss; stored"
    assert asked(faults) == ["GET"]


def test_a_known_tag_costs_a_head(client: Client, faults: FaultServer, image: Image) -> None:
    """Promise 5: the second pull by tag asks upstream by HEAD, and is then answered here."""
    client.manifest(HOST + TAG)
    faults.requests.clear()
    answer = client.manifest(HOST + TAG)
    assert (answer.body, answer.digest) == (image.root.body, image.digest)
    assert answer.cache_status == "entrepot; hit; detail=revalidated"
    assert asked(faults) == ["HEAD"]


def test_a_moved_tag_is_seen_at_once(
    client: Client, faults: FaultServer, image: Image, images: ImageFactory
) -> None:
    """Promise 5: a tag that upstream has moved is answered with its new manifest."""
    client.manifest(HOST + TAG)
    moved = images.image("moved")
    faults.publish(moved, "app", "1")
    answer = client.manifest(HOST + TAG)
    assert answer.body == moved.root.body != image.root.body
    assert answer.cache_status == "entrepot; fwd=miss; stored"


def test_a_digest_is_answered_without_upstream(
    client: Client, faults: FaultServer, image: Image
) -> None:
    """What was just allowed by digest is served without a request upstream."""
    client.manifest(HOST + by_digest(image.digest))
    faults.requests.clear()
    answer = client.manifest(HOST + by_digest(image.digest))
    assert (answer.body, answer.cache_status) == (image.root.body, "entrepot; hit")
    assert faults.requests == []


def test_accept_decides_what_a_tag_is(
    client: Client, faults: FaultServer, images: ImageFactory
) -> None:
    """Promise 5: a tag that is an index for one client and a manifest for another stays both."""
    index = images.multi_arch("negotiated")
    child = index.children[0]
    whole = Content(index.root.body, OCI_INDEX, index.digest)
    single = Content(child.body, OCI_MANIFEST, child.digest)

    def negotiate(exchange: Exchange) -> None:
        wants_index = OCI_INDEX in exchange.request.headers["accept"]
        (whole if wants_index else single)(exchange)

    faults.routes[TAG] = negotiate
    for _ in range(2):
        assert client.manifest(HOST + TAG).body == index.root.body
        assert client.get(HOST + TAG, {"Accept": OCI_MANIFEST}).body == child.body
    assert asked(faults) == ["GET", "HEAD", "GET", "HEAD", "HEAD"]


@pytest.mark.parametrize("media_type", [DOCKER_MANIFEST, f"{OCI_MANIFEST}; charset=utf-8"])
def test_the_type_is_exactly_upstreams(
    client: Client, faults: FaultServer, image: Image, media_type: str
) -> None:
    """Promise 1: Content-Type is what upstream sent, cold and warm."""
    handler = faults.routes[TAG]
    assert isinstance(handler, Content)
    handler.media_type = media_type
    types = [client.manifest(HOST + TAG).headers["Content-Type"] for _ in range(2)]
    types.append(client.manifest(HOST + by_digest(image.digest)).headers["Content-Type"])
    assert types == [media_type] * 3


@pytest.mark.usefixtures("image")
def test_a_client_that_has_it_gets_a_304(client: Client, faults: FaultServer) -> None:
    """If-None-Match with the entity tag of an earlier answer spares the body."""
    entity_tag = client.manifest(HOST + TAG).headers["ETag"]
    answer = client.manifest(HOST + TAG, {"If-None-Match": entity_tag})
    assert (answer.status, answer.body) == (304, b"")
    other = client.manifest(HOST + TAG, {"If-None-Match": '"other"'})
    assert other.status == 200
    assert asked(faults) == ["GET", "HEAD", "HEAD"]


def test_a_head_tells_the_length_and_fetches_nothing(
    client: Client, faults: FaultServer, image: Image
) -> None:
    """HEAD by tag and by digest is upstream's HEAD, and a local one once the bytes are here."""
    for path in (TAG, by_digest(image.digest)):
        answer = client.head(HOST + path, {"Accept": ANY_MANIFEST})
        assert (answer.status, answer.digest) == (200, image.digest)
        assert answer.headers["Content-Length"] == str(len(image.root.body))
        assert asked(faults, path) == ["HEAD"]
    client.manifest(HOST + TAG)
    faults.requests.clear()
    warm = client.head(HOST + by_digest(image.digest), {"Accept": ANY_MANIFEST})
    assert warm.headers["Content-Length"] == str(len(image.root.body))
    assert warm.cache_status == "entrepot; hit"
    assert faults.requests == []


def test_a_manifest_is_given_in_part(client: Client, faults: FaultServer, image: Image) -> None:
    """Promise 1: as containerd 2 asks, cold and warm; upstream is asked for the whole, once."""
    whole, content = {"Range": "bytes=0-"}, image.root.body
    span = f"bytes 0-{len(content) - 1}/{len(content)}"
    for path in (TAG, by_digest(image.digest), TAG):
        answer = client.manifest(HOST + path, whole)
        assert (answer.status, answer.body, answer.digest) == (206, content, image.digest)
        assert answer.headers["Content-Range"] == span
        assert answer.headers["Content-Type"] == image.root.media_type
        part = client.manifest(HOST + path, {"Range": "bytes=5-9"})
        assert (part.status, part.body) == (206, content[5:10])
    assert client.manifest(HOST + TAG).body == content
    assert asked(faults) == ["GET", *["HEAD"] * 4]
    assert {seen.range for seen in faults.of(path=TAG)} == {None}
    assert asked(faults, by_digest(image.digest)) == []


@pytest.mark.parametrize(
    ("status", "extra"),
    [
        (404, {}),
        (429, {"Retry-After": "17"}),
        (401, {"WWW-Authenticate": 'Bearer realm="https://fault.example.test/token",scope="x"'}),
        (503, {"Retry-After": "60"}),
    ],
)
def test_upstreams_refusal_is_relayed(
    client: Client, faults: FaultServer, status: int, extra: dict[str, str]
) -> None:
    """The client gets upstream's own refusal as it came: status, fields and body."""
    faults.routes[TAG] = error(status, "REFUSED", "for a reason of mine", extra)
    answer = client.manifest(HOST + TAG)
    assert answer.status == status
    assert {name: answer.headers[name] for name in extra} == extra
    assert json.loads(answer.body)["errors"][0]["message"] == "for a reason of mine"


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_held_tag_is_refused_as_upstream_does(
    client: Client, faults: FaultServer, status: int
) -> None:
    """Promise 5: a tag that was served before is not, once upstream refuses it."""
    assert client.manifest(HOST + TAG).status == 200
    faults.routes[TAG] = error(status, "REFUSED", "no more")
    answer = client.manifest(HOST + TAG)
    assert answer.status == status
    assert b"no more" in answer.body


def test_wrong_bytes_are_neither_served_nor_stored(
    client: Client, faults: FaultServer, image: Image
) -> None:
    """Promise 1: a manifest that does not hash to its digest is a 502, until upstream mends it."""
    path = by_digest(image.digest)
    good, faults.routes[path] = faults.routes[path], Content(b'{"forged": true}', OCI_MANIFEST)
    for _ in range(2):
        answer = client.manifest(HOST + path)
        assert answer.status == 502
        assert b"forged" not in answer.body
    faults.routes[path] = good
    mended = client.manifest(HOST + path)
    assert (mended.body, mended.cache_status) == (image.root.body, "entrepot; fwd=miss; stored")


def test_schema_1_passes_uncached(client: Client, faults: FaultServer) -> None:
    """A signed schema 1 manifest, whose digest is not its hash, comes from upstream each time."""
    body = b'{"schemaVersion": 1, "signatures": []}'
    digest = f"sha256:{hashlib.sha256(b'the payload').hexdigest()}"
    for path in (TAG, by_digest(digest)):
        faults.routes[path] = Content(body, SCHEMA1, digest)
        for _ in range(2):
            answer = client.get(HOST + path, {"Accept": SCHEMA1})
            assert (answer.status, answer.body) == (200, body)
            assert answer.headers["Content-Type"] == SCHEMA1
        assert asked(faults, path) == ["GET", "GET"]


def test_an_oversized_manifest_passes_as_it_comes(client: Client, faults: FaultServer) -> None:
    """Promise 6: more than 4 MiB is streamed while upstream still sends, and not stored."""
    body = bytes(range(256)) * (6 * MIB // 256)
    gate = Gate(5 * MIB)
    faults.routes[TAG] = Content(body, OCI_MANIFEST, gate=gate)
    with client.open("GET", HOST + TAG, {"Accept": ANY_MANIFEST}) as stream:
        head = stream.read(4 * MIB + 1000)
        gate.open()
        assert head + stream.read() == body
    assert client.manifest(HOST + TAG).body == body
    assert asked(faults) == ["GET", "GET"]


def test_a_relative_redirect_is_followed(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A manifest that is redirected inside its registry is the client's 200."""
    image = images.image("redirected")
    upstreams.push(image, "moved.example.test/rig:1")
    mark = upstreams.mark()
    answer = client.manifest("https://moved.example.test/v2/rig/manifests/1")
    assert (answer.status, answer.body) == (200, image.root.body)
    assert [seen.status for seen in upstreams.requests(mark).manifest_gets] == [307, 200]


def test_only_what_a_digest_names_is_taken_over_plain_http(
    start_entrepot: "StartEntrepot", faults: FaultServer, image: Image
) -> None:
    """Promise 1: a redirect from https to http is followed by digest, and for a tag relayed."""
    plain = FaultServer(None, "cdn.plain.test")
    try:
        plain.publish(image, "app", "1")
        tls, name = faults.resolve[0], f"cdn.plain.test:80:127.0.0.1:{plain.port}"
        client = start_entrepot(resolve=[tls, name]).client()
        blob = f"/v2/app/blobs/{image.layers[0].digest}"
        for path in (TAG, by_digest(image.digest), blob):
            faults.routes[path] = redirect(f"http://cdn.plain.test{path}")
        by_tag = client.manifest(HOST + TAG)
        assert (by_tag.status, by_tag.headers["Location"]) == (307, f"http://cdn.plain.test{TAG}")
        assert plain.of(path=TAG) == []
        for path in (by_digest(image.digest), blob):  # of a HEAD nothing can be verified
            assert client.head(HOST + path).status == 307
        assert plain.requests == []
        own = {"Authorization": "Bearer mine"}
        assert client.manifest(HOST + by_digest(image.digest), own).body == image.root.body
        assert client.get(HOST + blob, own).body == image.layers[0].read()
        assert {seen.authorization for seen in plain.requests} == {None}
    finally:
        plain.stop()


def test_an_upstream_that_is_down_is_a_502(client: Client, upstreams: Upstreams) -> None:
    """The error is a registry's and says which host, but nothing of the path."""
    client.certificate("hub.example.test")
    with upstreams.down():
        answer = client.manifest("https://hub.example.test/v2/secret-name/manifests/some-tag")
    assert answer.status == 502
    (told,) = json.loads(answer.body)["errors"]
    assert "hub.example.test" in told["message"]
    assert b"secret-name" not in answer.body
    assert b"some-tag" not in answer.body


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_who_asks_at_once_is_answered_together(
    client: Client, faults: FaultServer, image: Image, method: str
) -> None:
    """Promise 3: many pulls of one tag at the same time are few requests upstream."""
    faults.routes["/v2/app/manifests/barrier"] = faults.routes[by_digest(image.digest)]
    if method == "HEAD":
        client.manifest(HOST + TAG)  # a tag that is known is asked for by HEAD
        faults.requests.clear()
    released = threading.Event()
    faults.routes[TAG] = Content(image.root.body, OCI_MANIFEST, image.digest, wait=released)
    answers: list[Answer] = []
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(client.connection(HOST))) for _ in range(12)]
        for connection in connections:
            connection.request("GET", TAG, headers={"Accept": ANY_MANIFEST})
        faults.await_request(path=TAG)
        # This one takes the same way through the proxy: when it is answered, the others wait.
        assert client.manifest(f"{HOST}/v2/app/manifests/barrier").status == 200
        released.set()
        for connection in connections:
            response = connection.getresponse()
            answers.append(Answer(response.status, response.headers, response.read()))
    assert {answer.body for answer in answers} == {image.root.body}
    # Who came when one was sent shares the next; of these, two may be under way.
    assert asked(faults) in ([method], [method] * 2, [method] * 3)

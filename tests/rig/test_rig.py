"""The rig does what the tests that stand on it take for granted."""

import http.client
import threading
import time
from pathlib import Path

import pytest

from rig.client import Answer, Client, ConnectRefusedError, DirectClient
from rig.corporate import CorporateProxy
from rig.faults import FaultServer, Gate, error, first, redirect
from rig.images import ImageFactory
from rig.record import Requests
from rig.road import Road
from rig.upstreams import WEB_BODY, Upstreams


@pytest.fixture
def direct(faults: FaultServer, upstreams: Upstreams) -> DirectClient:
    return DirectClient(faults.port, upstreams.authority.client_context())


def fault(path: str) -> str:
    return f"https://fault.example.test{path}"


def test_images_depend_on_nothing_but_their_seed(tmp_path: Path) -> None:
    one, other = ImageFactory(tmp_path / "one"), ImageFactory(tmp_path / "other")
    assert one.multi_arch("seed").digest == other.multi_arch("seed").digest
    assert one.image("seed").digest != one.image("another").digest


def test_the_record_holds_an_answer_as_soon_as_the_client_has_it(upstreams: Upstreams) -> None:
    client = upstreams.client()
    for _ in range(50):
        mark = upstreams.mark()
        client.get("https://hub.example.test/v2/", {"Authorization": "Bearer secret"})
        (seen,) = upstreams.requests(mark)
        assert (seen.kind, seen.status, seen.authorization) == ("ping", 200, "bearer")


def test_anybody_pulls_public_and_alice_private_images(
    upstreams: Upstreams, images: ImageFactory
) -> None:
    client = upstreams.client()
    for name in ("public/rig", "private/rig"):
        upstreams.push(images.image("rig"), f"registry.example.test/{name}:1")
    public, private = (
        f"https://registry.example.test/v2/{kind}/rig/manifests/1" for kind in ("public", "private")
    )

    def status(url: str, *credentials: str) -> int:
        return client.manifest(
            url, {"Authorization": client.authorization(url, *credentials)}
        ).status

    assert client.get(public).status == 401
    assert status(public) == 200
    assert status(private) == 401
    assert status(private, "bob", "builder") == 401
    assert status(private, "alice", "wonderland") == 200


def test_blobs_of_the_hub_come_from_its_cdn(upstreams: Upstreams, images: ImageFactory) -> None:
    image = images.image("rig")
    upstreams.push(image, "hub.example.test/rig:1")
    client, mark = upstreams.client(), upstreams.mark()
    answer = client.get(f"https://hub.example.test/v2/rig/blobs/{image.layers[0].digest}")
    assert answer.status == 307
    location = answer.headers["Location"]
    assert client.get(location).body == image.layers[0].read()
    assert client.get(location, {"Authorization": "Basic eA=="}).status == 400
    seen: Requests = upstreams.requests(mark)
    assert [one.host for one in seen] == ["hub.example.test"] + 2 * ["cdn.example.test"]
    assert seen.blob_bytes == image.layers[0].size


def test_moved_manifests_and_blobs_are_redirected(
    upstreams: Upstreams, images: ImageFactory
) -> None:
    upstreams.push(images.image("rig"), "moved.example.test/rig:1")
    client = upstreams.client()
    answer = client.manifest("https://moved.example.test/v2/rig/manifests/1")
    assert (answer.status, answer.headers["Location"]) == (307, "/v2/images/rig/manifests/1")
    followed = client.manifest("https://moved.example.test/v2/images/rig/manifests/1")
    assert followed.digest == images.image("rig").digest


def test_upstreams_that_are_down_come_back(upstreams: Upstreams) -> None:
    client = upstreams.client()
    with upstreams.down(), pytest.raises(ConnectionRefusedError):
        client.get("https://hub.example.test/v2/")
    assert client.get("https://hub.example.test/v2/").status == 200


def test_the_web_server_has_another_authority(upstreams: Upstreams) -> None:
    client = DirectClient(upstreams.nginx.tls_port, upstreams.web_authority.client_context())
    assert client.get("https://plainweb.example.test/").body == WEB_BODY


def test_a_body_is_cut_once_and_resumed(faults: FaultServer, direct: DirectClient) -> None:
    path, content = faults.add_blob("app", bytes(100_000))
    content.cut_after, content.cuts = 60_000, 1
    cut = pytest.raises((http.client.IncompleteRead, ConnectionResetError))
    with direct.open("GET", fault(path)) as stream, cut:
        stream.read()
    rest = direct.get(fault(path), {"Range": "bytes=60000-"})
    assert (rest.status, len(rest.body)) == (206, 40_000)
    assert rest.headers["Content-Range"] == "bytes 60000-99999/100000"
    assert [(seen.range, seen.sent) for seen in faults.of(path=path)] == [
        (None, 60_000),
        ("bytes=60000-", 40_000),
    ]


def test_a_range_can_be_ignored_and_a_length_left_out(
    faults: FaultServer, direct: DirectClient
) -> None:
    path, content = faults.add_blob("app", b"0123456789")
    content.ranges, content.chunked = False, True
    answer = direct.get(fault(path), {"Range": "bytes=4-"})
    assert (answer.status, answer.body) == (200, b"0123456789")
    assert "Content-Length" not in answer.headers


def test_a_body_comes_when_the_test_lets_it(faults: FaultServer, direct: DirectClient) -> None:
    path, content = faults.add_blob("app", b"0123456789")
    content.wait, content.gate = threading.Event(), Gate()
    answers: list[Answer] = []
    reader = threading.Thread(target=lambda: answers.append(direct.get(fault(path))))
    reader.start()
    seen = faults.await_request(path=path)
    assert seen.status == 0
    content.wait.set()
    content.gate.allow(4)
    faults.await_request(path=path, sent=4)
    content.gate.open()
    reader.join(10)
    assert answers[0].body == b"0123456789"


def test_errors_and_redirects_are_as_told(faults: FaultServer, direct: DirectClient) -> None:
    limited = error(429, "TOOMANYREQUESTS", "slow down", {"Retry-After": "3"})
    faults.routes["/v2/a/manifests/1"] = first(1, limited, redirect("/v2/a/manifests/1"))
    url = fault("/v2/a/manifests/1")
    answer = direct.get(url)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    assert direct.get(url).headers["Location"] == "/v2/a/manifests/1"
    path, content = faults.add_blob("a", b"x")
    content.head_status = 405
    assert direct.head(fault(path)).status == 405


def test_the_corporate_proxy_wants_its_password(upstreams: Upstreams) -> None:
    proxy = CorporateProxy(upstreams.resolve)
    try:
        context = upstreams.authority.client_context()
        with pytest.raises(ConnectRefusedError, match="407"):
            Client(proxy.port, context).get("https://hub.example.test/v2/")
        client = Client(proxy.port, context, proxy_authorization=proxy.authorization)
        assert client.get("https://hub.example.test/v2/").status == 200
    finally:
        proxy.stop()
    assert (proxy.refused, proxy.targets) == 2 * (["hub.example.test:443"],)


def test_a_road_is_as_long_as_it_was_told(upstreams: Upstreams) -> None:
    """TCP, TLS and the request each wait for a round trip; bytes arrive as they were sent."""
    road = Road(upstreams.nginx.tls_port, round_trip=0.05)
    try:
        client = DirectClient(road.port, upstreams.authority.client_context())
        began = time.monotonic()
        answer = client.get("https://hub.example.test/v2/")
        assert time.monotonic() - began >= 3 * road.round_trip
        assert (answer.status, answer.body) == (200, b"{}")
        client.get("https://hub.example.test/v2/")
        assert road.connections == 2
    finally:
        road.stop()
    with pytest.raises(ConnectionRefusedError):
        client.get("https://hub.example.test/v2/")

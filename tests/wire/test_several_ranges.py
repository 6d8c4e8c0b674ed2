"""Several ranges in one request: a part for each, from the store and as they come."""

import http.client
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from rig.client import Answer, Client
from rig.faults import Exchange, FaultServer, Gate
from rig.images import MIB, ImageFactory, incompressible
from rig.multipart import parts_of
from rig.ports import free_port
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HOST = "https://fault.example.test"
SIZE = 3 * MIB
BODY = b"".join(incompressible("several ranges", SIZE))
THOUSAND = tuple((at * 3000, at * 3000 + 1 + at % 700) for at in range(1000))


@pytest.fixture
def held(entrepot: Entrepot, client: Client, faults: FaultServer) -> str:
    """The path of a blob of BODY that is in the cache."""
    path, content = faults.add_blob("app", BODY)
    content.media_type = "application/x-layer"
    assert client.get(HOST + path).status == 200
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    faults.requests.clear()
    return path


def asking(*spans: tuple[int, int]) -> dict[str, str]:
    return {"Range": "bytes=" + ",".join(f"{start}-{stop - 1}" for start, stop in spans)}


def padded(fields: dict[str, str]) -> dict[str, str]:
    """The same ranges in 64 KiB, by blanks that mean nothing."""
    first, _, rest = fields["Range"].rpartition(",")
    return {"Range": first + "," + rest.rjust(64 * 1024 - len(first) - 1)}


def assert_parts(answer: Answer, *spans: tuple[int, int]) -> None:
    """A part for each span, in this order, and nothing besides."""
    assert answer.status == 206
    assert "Content-Range" not in answer.headers
    assert answer.headers["Content-Length"] == str(len(answer.body))
    found = parts_of(answer.headers["Content-Type"], answer.body)
    assert found == [(start, BODY[start:stop]) for start, stop in spans]


def test_a_thousand_ranges_are_a_thousand_parts(
    client: Client, faults: FaultServer, held: str
) -> None:
    """As podman asks, and one after another on what is one connection; nobody upstream hears."""
    answer = client.get(HOST + held, asking(*THOUSAND))
    assert_parts(answer, *THOUSAND)
    assert answer.body.count(b"Content-Type: application/x-layer\r\n") == 1000
    assert answer.cache_status == "entrepot; hit"
    assert answer.digest == held.rpartition("/")[2]
    assert faults.requests == []


def test_a_range_of_64_kib_is_read(client: Client, held: str) -> None:
    """As long as a thousand ranges of anything can be."""
    fields = padded(asking(*THOUSAND))
    assert len(fields["Range"]) == 64 * 1024
    assert_parts(client.get(HOST + held, fields), *THOUSAND)


@pytest.mark.parametrize(
    "spans",
    [
        ((SIZE - 100, SIZE), (0, 100)),
        ((0, MIB), (MIB, 2 * MIB)),
        ((0, 1000), (500, 1500)),
        ((5, 6),) * 50,
        tuple((at, at + 1) for at in range(1000, 0, -1)),
        ((0, SIZE // 2), (SIZE // 2, SIZE)),
    ],
)
def test_each_range_gets_its_part(
    client: Client, held: str, spans: tuple[tuple[int, int], ...]
) -> None:
    """In the order asked, where they touch, overlap, repeat or go backwards too."""
    assert_parts(client.get(HOST + held, asking(*spans)), *spans)


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        (f"bytes=0-9,{SIZE}-", 206, BODY[:10]),
        (f"bytes={SIZE}-,{SIZE + 5}-", 416, None),
        ("bytes=0-,0-", 200, BODY),
        ("bytes=" + ",".join(["0-"] * 1000), 200, BODY),
        ("bytes=" + ",".join(["0-0"] * 1025), 200, BODY),
    ],
)
def test_what_is_left_of_several(
    client: Client, held: str, asked: str, status: int, body: bytes | None
) -> None:
    """One left is a plain part, none is a 416; more than the whole, or too many, are the whole."""
    answer = client.get(HOST + held, {"Range": asked})
    assert answer.status == status
    assert body is None or answer.body == body
    assert "multipart" not in answer.headers["Content-Type"]


def test_a_condition_comes_first(client: Client, held: str) -> None:
    """Who has it gets a 304, who has a part of something else the whole, HEAD no part."""
    etag = f'"{held.rpartition("/")[2]}"'
    fields = asking((0, 2), (5, 7))
    assert client.get(HOST + held, {**fields, "If-None-Match": etag}).status == 304
    assert client.get(HOST + held, {**fields, "If-Range": '"other"'}).body == BODY
    assert_parts(client.get(HOST + held, {**fields, "If-Range": etag}), (0, 2), (5, 7))
    head = client.head(HOST + held, fields)
    assert (head.status, head.headers["Content-Length"]) == (200, str(SIZE))


def test_parts_of_a_blob_that_is_on_its_way(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """A part that is here is given before the next one comes; each byte is fetched once."""
    path, content = faults.add_blob("app", BODY)
    content.gate = gate = Gate(2 * MIB)
    spans = ((0, MIB), (MIB + 5, MIB + 6), (SIZE - 10, SIZE))
    with client.open("GET", HOST + path, asking(*spans)) as stream:
        begun = stream.read(MIB)
        gate.open()
        answer = Answer(stream.status, stream.headers, begun + stream.read())
    assert_parts(answer, *spans)
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    assert all(seen.range for seen in faults.of(path=path))
    assert sum(seen.sent for seen in faults.of(path=path)) <= 1.05 * SIZE


def test_by_plain_http_and_from_a_mirror(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, images: ImageFactory
) -> None:
    """In turn with other requests on one connection; the kernel sends what is large."""
    image, mirror = images.image("parts", [12 * MIB], compression="stored"), free_port()
    upstreams.push(image, "plain.example.test:5000/parts:1")
    (layer,) = image.layers
    content, path = layer.read(), f"/v2/parts/blobs/{layer.digest}"
    proxy = start_entrepot(mirror=f"127.0.0.1:{mirror}=http://plain.example.test:5000")
    spans = (*((at * 1000, at * 1000 + 90) for at in range(1000)), (2 * MIB, 9 * MIB), (0, 1))
    with closing(http.client.HTTPConnection("127.0.0.1", mirror, timeout=30)) as connection:
        connection.request("GET", path)
        assert connection.getresponse().read() == content
        proxy.await_stored([layer.digest])
        kept = connection.sock
        for _ in range(2):
            connection.request("GET", path, headers=padded(asking(*spans)))
            answer = connection.getresponse()
            found = parts_of(answer.headers["Content-Type"], answer.read())
            assert found == [(start, content[start:stop]) for start, stop in spans]
            connection.request("GET", "/v2/")
            assert connection.getresponse().read() == b"{}"
        assert connection.sock is kept
    url = f"http://plain.example.test:5000{path}"
    whole = proxy.client().get(url, padded(asking(*spans)))
    found = parts_of(whole.headers["Content-Type"], whole.body)
    assert found == [(start, content[start:stop]) for start, stop in spans]


def test_of_a_cold_blob_what_is_asked_for_comes_first(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """The registry is asked for the parts while the beginning hangs, and for no byte twice."""
    body = b"".join(incompressible("cold parts", 16 * MIB))
    path, content = faults.add_blob("app", body)
    spans = tuple((at, at + 5000) for at in range(15 * MIB, 5 * MIB, -500_000))
    begin = threading.Event()

    def hanging(exchange: Exchange) -> None:
        """What begins before the first part waits."""
        first = int((exchange.request.range or "=0-").partition("=")[2].partition("-")[0])
        if exchange.request.method == "GET" and first < spans[-1][0]:
            assert begin.wait(60)
        content(exchange)

    faults.routes[path] = hanging
    answer = client.get(HOST + path, asking(*spans))
    found = parts_of(answer.headers["Content-Type"], answer.body)
    assert found == [(start, body[start:stop]) for start, stop in spans]
    assert answer.cache_status == "entrepot; fwd=miss; detail=range"
    began = sum(seen.sent for seen in faults.of(path=path))
    assert began < 3 * MIB
    begin.set()
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    assert len(body) <= sum(seen.sent for seen in faults.of(path=path)) <= 1.01 * len(body)

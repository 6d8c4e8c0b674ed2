"""Blobs through the proxy: miss, hit and what joins a running fetch, whole and in parts."""

import itertools
from collections.abc import Callable

import pytest

from rig.client import Client
from rig.faults import Content, FaultServer, Gate, redirect
from rig.images import incompressible
from rig.process import eventually
from rig.proxy import Entrepot

HOST = "https://fault.example.test"
CDN = "https://fault-cdn.example.test"
SIZE = 300_000
BODY = b"".join(incompressible("blobs", SIZE))
Warm = Callable[[str], None]


@pytest.fixture
def warm(entrepot: Entrepot, client: Client, faults: FaultServer) -> Warm:
    """Pull a path, wait until it is stored, and forget what upstream was asked."""

    def pull(path: str) -> None:
        assert client.get(HOST + path).status == 200
        eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
        faults.requests.clear()

    return pull


@pytest.fixture
def held(warm: Warm, faults: FaultServer) -> str:
    """The path of a blob of BODY that is in the cache."""
    path, _ = faults.add_blob("app", BODY)
    warm(path)
    return path


def test_a_miss_is_fetched_and_stored(client: Client, faults: FaultServer) -> None:
    """The first pull of a blob comes from upstream, with all that clients look at."""
    path, content = faults.add_blob("app", BODY)
    content.media_type = "application/x-layer"
    answer = client.get(HOST + path)
    assert (answer.status, answer.body) == (200, BODY)
    assert answer.cache_status == "entrepot; fwd=miss; stored"
    assert answer.digest == content.digest
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Content-Type"] == "application/x-layer"
    assert [seen.method for seen in faults.of(path=path)] == ["GET"]


def test_a_hit_asks_nobody(client: Client, faults: FaultServer, held: str) -> None:
    """Promise 3: the second pull is answered here, byte by byte the same."""
    answer = client.get(HOST + held)
    assert (answer.status, answer.body) == (200, BODY)
    assert answer.cache_status == "entrepot; hit"
    assert faults.requests == []


def test_a_hit_has_the_fields_of_a_registry(client: Client, held: str) -> None:
    """A hit carries length, type, digest, entity tag, age and the API version."""
    answer = client.get(HOST + held)
    digest = held.rpartition("/")[2]
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.digest == digest
    assert answer.headers["ETag"] == f'"{digest}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Age"].isdigit()
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert "Transfer-Encoding" not in answer.headers


def test_fields_of_one_client_are_not_stored(
    client: Client, faults: FaultServer, warm: Warm
) -> None:
    """Promise 2: a cookie that upstream set for the first client is not given to the next."""
    path, content = faults.add_blob("app", BODY)
    content.headers = {"Set-Cookie": "session=first", "RateLimit-Remaining": "99"}
    warm(path)
    answer = client.get(HOST + path)
    assert answer.cache_status == "entrepot; hit"
    assert "Set-Cookie" not in answer.headers
    assert "RateLimit-Remaining" not in answer.headers


def test_a_second_client_joins_a_running_fetch(client: Client, faults: FaultServer) -> None:
    """Promise 3: two pulls at the same time are one fetch, and both get the whole."""
    path, content = faults.add_blob("app", BODY)
    content.gate = gate = Gate(SIZE // 2)
    with client.open("GET", HOST + path) as first:
        begun = first.read(SIZE // 4)
        with client.open("GET", HOST + path) as second:
            assert second.headers["Cache-Status"] == "entrepot; fwd=miss; collapsed"
            gate.open()
            assert second.read() == BODY
        assert begun + first.read() == BODY
    assert len(faults.of(path=path, method="GET")) == 1


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-10", 10, 11),
        ("bytes=1000-", 1000, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        ("bytes=5-999999999", 5, SIZE),
        ("bytes=-999999999", 0, SIZE),
    ],
)
def test_a_part_of_a_hit(
    client: Client, faults: FaultServer, held: str, asked: str, start: int, stop: int
) -> None:
    """A range of a stored blob is a 206 with these very bytes, from here."""
    answer = client.get(HOST + held, {"Range": asked})
    assert (answer.status, answer.body) == (206, BODY[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)
    assert faults.requests == []


@pytest.mark.parametrize("asked", ["bytes=a-b", "bytes=5-2", "items=0-1", "bytes", "bytes=0-,1-2"])
def test_a_range_we_do_not_do_is_ignored(client: Client, held: str, asked: str) -> None:
    """Other units, malformed ones and more than there is get the whole (RFC 9110 section 14.2)."""
    answer = client.get(HOST + held, {"Range": asked})
    assert (answer.status, answer.body) == (200, BODY)
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=-0", "bytes=999999999-"])
def test_a_range_beyond_the_end_is_refused(client: Client, held: str, asked: str) -> None:
    """A range that no byte is in gets a 416 that tells the size."""
    answer = client.get(HOST + held, {"Range": asked})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


def test_a_part_of_a_miss_stores_the_whole(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 1: a range of a blob not held is a 206, and what is stored is the whole blob.

    The range is asked for first, then the rest; nothing twice.
    """
    path, _ = faults.add_blob("app", BODY)
    part = client.get(HOST + path, {"Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, BODY[100:200])
    assert part.cache_status == "entrepot; fwd=miss; detail=range"
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    whole = client.get(HOST + path)
    assert (whole.body, whole.cache_status) == (BODY, "entrepot; hit")
    seen = faults.of(path=path)
    assert seen[0].range == f"bytes=100-{100 + 64 * 1024 - 1}"
    assert sum(one.sent for one in seen) == len(BODY)


def test_a_client_that_has_it_gets_a_304(client: Client, held: str) -> None:
    """If-None-Match with the digest spares the body."""
    digest = held.rpartition("/")[2]
    answer = client.get(HOST + held, {"If-None-Match": f'"{digest}"'})
    assert (answer.status, answer.body) == (304, b"")
    assert client.get(HOST + held, {"If-None-Match": '"other"'}).body == BODY


def test_a_head_of_a_hit(client: Client, faults: FaultServer, held: str) -> None:
    """HEAD of a stored blob is a 200 with the length, from here."""
    answer = client.head(HOST + held)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.cache_status == "entrepot; hit"
    assert faults.requests == []


def test_a_head_of_a_miss_fetches_nothing(client: Client, faults: FaultServer) -> None:
    """HEAD of a blob not held is upstream's HEAD, and no fetch."""
    path, content = faults.add_blob("app", BODY)
    answer = client.head(HOST + path)
    assert (answer.status, answer.digest) == (200, content.digest)
    assert answer.headers["Content-Length"] == str(SIZE)
    assert [seen.method for seen in faults.of(path=path)] == ["HEAD"]


def test_an_empty_blob(client: Client, faults: FaultServer, warm: Warm) -> None:
    """A blob of no bytes is stored and served like any other; no range of it can be had."""
    path, _ = faults.add_blob("app", b"")
    warm(path)
    answer = client.get(HOST + path)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == "0"
    assert answer.cache_status == "entrepot; hit"
    assert client.get(HOST + path, {"Range": "bytes=0-0"}).status == 416


def test_credentials_stay_with_their_host(client: Client, faults: FaultServer) -> None:
    """Promise 2: what identifies a client does not follow a redirect to another host."""
    path, content = faults.add_blob("app", BODY)
    faults.routes["/bucket/blob"] = content
    faults.routes[path] = redirect(f"{CDN}/bucket/blob?signed=yes")
    own = {"Authorization": "Bearer mine", "Cookie": "a=b"}
    assert client.get(HOST + path, own).body == BODY
    assert faults.of(path=path)[-1].authorization == "Bearer mine"
    (at_cdn,) = faults.of(path="/bucket/blob")
    assert (at_cdn.host, at_cdn.query) == ("fault-cdn.example.test", "signed=yes")
    assert at_cdn.authorization is None
    assert "cookie" not in at_cdn.headers


def test_credentials_go_on_within_their_host(client: Client, faults: FaultServer) -> None:
    """A redirect inside the registry is asked for as the client."""
    path, content = faults.add_blob("app", BODY)
    faults.routes["/elsewhere"] = content
    faults.routes[path] = redirect("/elsewhere")
    assert client.get(HOST + path, {"Authorization": "Bearer mine"}).body == BODY
    assert [seen.authorization for seen in faults.of(path="/elsewhere")] == ["Bearer mine"]


def chain(faults: FaultServer, path: str, length: int, content: Content) -> None:
    """Put `length` redirects between a path and its content."""
    stations = [path, *(f"/station/{n}" for n in range(length))]
    for here, there in itertools.pairwise(stations):
        faults.routes[here] = redirect(there)
    faults.routes[stations[-1]] = content


@pytest.mark.parametrize(("length", "status"), [(1, 200), (5, 200), (6, 502)])
def test_at_most_five_redirects_are_followed(
    client: Client, faults: FaultServer, length: int, status: int
) -> None:
    """A chain of five ends well; a sixth redirect is an error of upstream's."""
    path, content = faults.add_blob("app", BODY)
    chain(faults, path, length, content)
    answer = client.get(HOST + path)
    assert answer.status == status
    assert (answer.body == BODY) == (status == 200)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_every_redirect_is_ours_to_follow(client: Client, faults: FaultServer, code: int) -> None:
    """The client never sees a redirect, so that CDN hosts need not be intercepted."""
    path, content = faults.add_blob("app", BODY)
    faults.routes["/bucket/blob"] = content
    faults.routes[path] = redirect(f"{CDN}/bucket/blob", code)
    answer = client.get(HOST + path)
    assert (answer.status, answer.body) == (200, BODY)


def test_a_length_that_upstream_left_out(client: Client, faults: FaultServer, warm: Warm) -> None:
    """A chunked blob is chunked on the way to the first client, and has its length for the next."""
    path, content = faults.add_blob("app", BODY)
    content.chunked, content.gate = True, Gate(SIZE - 1)  # else its end may be known at once
    with client.open("GET", HOST + path) as cold:
        assert cold.headers["Transfer-Encoding"] == "chunked"
        content.gate.open()
        assert cold.read() == BODY
    warm(path)
    answer = client.get(HOST + path)
    assert (answer.body, answer.headers["Content-Length"]) == (BODY, str(SIZE))


def ask_1_0(client: Client, path: str) -> tuple[bytes, bytes]:
    """GET as an HTTP/1.0 client: return the head, and what came until the connection's end."""
    with client.tunnel("fault.example.test") as tls:
        tls.sendall(f"GET {path} HTTP/1.0\r\nHost: fault.example.test\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: tls.recv(1 << 16), b"")).partition(b"\r\n\r\n")
        return head, body


def test_an_http_1_0_client_gets_a_hit(client: Client, held: str) -> None:
    """A client of HTTP/1.0 gets a length, the bytes, and then the end of the connection."""
    head, body = ask_1_0(client, held)
    assert head.split()[1] == b"200"
    assert b"transfer-encoding" not in head.lower()
    assert body == BODY


def test_an_http_1_0_client_cannot_take_a_cut_for_an_end(
    client: Client, faults: FaultServer
) -> None:
    """Promise 1: a body of unknown length, whose end 1.0 could not tell from a cut, is a 505."""
    path, content = faults.add_blob("app", BODY)
    content.chunked, content.gate = True, Gate(SIZE - 1)  # else its end may be known at once
    head, body = ask_1_0(client, path)
    content.gate.open()
    assert head.split()[1] == b"505"
    assert BODY[:100] not in body

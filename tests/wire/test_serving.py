"""Bodies in band: at the client's pace, in bounded memory, over TLS and plain HTTP.

Everything here rests on mitmproxy's internals as `entrepot.mitm.sending` describes them.
"""

import hashlib
import http.client
from contextlib import closing
from pathlib import Path

import pytest

from rig.client import Client, Stream
from rig.faults import Exchange, FaultServer, Gate
from rig.images import MIB, ImageFactory, incompressible
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

HOST = "https://fault.example.test"
BIG = 64 * MIB
GIB = 1024 * MIB
LIMIT = 150 * MIB
"""Resident memory of the whole proxy, whatever is under way; idle it takes about 70 MiB."""


def stored(entrepot: Entrepot, blobs: int = 1) -> None:
    """Wait until that many blobs have been stored."""
    eventually(lambda: entrepot.log.count("blob_stored digest=") >= blobs, what="stored")


@pytest.fixture
def big(entrepot: Entrepot, client: Client, faults: FaultServer) -> tuple[str, str]:
    """A blob of 64 MiB that is in the cache: its URL, and the sha256 of its bytes."""
    path, content = faults.add_blob("app", b"".join(incompressible("big", BIG)))
    with client.open("GET", HOST + path) as stream:
        digest_of(stream)
    stored(entrepot)
    assert content.digest is not None
    return HOST + path, content.digest.removeprefix("sha256:")


def digest_of(stream: Stream) -> tuple[int, str]:
    """Read a body to its end, holding none of it: its length and its sha256."""
    length, seen = 0, hashlib.sha256()
    while data := stream.read(MIB):
        length += len(data)
        seen.update(data)
    return length, seen.hexdigest()


def open_blobs(entrepot: Entrepot) -> int:
    """How many files of the data folder the proxy has open, but for databases and the lock."""
    count = 0
    for link in Path(f"/proc/{entrepot.pid}/fd").iterdir():
        try:
            target = link.readlink()
        except FileNotFoundError:
            continue  # closed meanwhile
        ours = target.is_relative_to(entrepot.data)
        count += ours and ".db" not in target.name and "lock" not in target.name
    return count


@pytest.mark.unforked
def test_a_hit_is_sent_by_our_stream(
    entrepot: Entrepot, client: Client, big: tuple[str, str]
) -> None:
    """Promise 6: a large hit has its length and takes no memory; fails where mitmproxy moves.

    Without ServingStream there would be no body, a chunked one, or one held whole.
    """
    url, sha256 = big
    entrepot.reset_rss_peak()
    before = entrepot.rss()
    with client.open("GET", url) as stream:
        assert stream.headers["Cache-Status"] == "entrepot; hit"
        assert "Transfer-Encoding" not in stream.headers
        assert stream.headers["Content-Length"] == str(BIG)
        assert digest_of(stream) == (BIG, sha256)
    assert entrepot.rss_peak() - before < BIG // 2
    assert "Traceback" not in entrepot.log


@pytest.mark.slow
@pytest.mark.unforked
def test_a_gibibyte_in_bounded_memory(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 6: a blob of 1 GiB, missed and then hit, takes at most 150 MiB in all."""
    seen = hashlib.sha256()
    for piece in incompressible("gib", GIB):
        seen.update(piece)

    def send(exchange: Exchange) -> None:
        exchange.start(200, {"Content-Length": str(GIB)})
        for piece in incompressible("gib", GIB):
            exchange.write(piece)

    path = f"/v2/app/blobs/sha256:{seen.hexdigest()}"
    faults.routes[path] = send
    for status in ("entrepot; fwd=miss; stored", "entrepot; hit"):
        with client.open("GET", HOST + path) as stream:
            assert stream.headers["Cache-Status"] == status
            assert digest_of(stream) == (GIB, seen.hexdigest())
        stored(entrepot)
    assert entrepot.rss_peak() < LIMIT


@pytest.mark.unforked
def test_a_stalled_reader_holds_up_nobody(
    entrepot: Entrepot, client: Client, big: tuple[str, str]
) -> None:
    """Promise 6: clients that stop reading cost neither memory nor the others their bytes."""
    url, sha256 = big
    stalled = [client.open("GET", url) for _ in range(8)]
    try:
        for stream in stalled:
            assert len(stream.read(1)) == 1
        for _ in range(3):
            with client.open("GET", url) as stream:
                assert digest_of(stream) == (BIG, sha256)
        assert entrepot.rss_peak() < LIMIT
    finally:
        for stream in stalled:
            stream.close()


def test_a_stalled_reader_can_go_on(client: Client, big: tuple[str, str]) -> None:
    """Promise 1: who stops and takes it up again gets the rest, nothing lost."""
    url, sha256 = big
    with client.open("GET", url) as slow:
        begun = slow.read(1)
        with client.open("GET", url) as quick:
            assert digest_of(quick) == (BIG, sha256)
        assert hashlib.sha256(begun + slow.read()).hexdigest() == sha256


def test_a_stalled_reader_does_not_stop_a_fetch(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 3: the fetch goes on at upstream's pace, not at that of the one who asked first."""
    path, content = faults.add_blob("app", b"".join(incompressible("pace", BIG)))
    with client.open("GET", HOST + path) as slow:
        slow.read(1)
        stored(entrepot)
        with client.open("GET", HOST + path) as quick:
            assert quick.headers["Cache-Status"] == "entrepot; hit"
            assert f"sha256:{digest_of(quick)[1]}" == content.digest


def test_a_client_that_leaves_a_hit_leaves_no_file_open(
    entrepot: Entrepot, client: Client, big: tuple[str, str]
) -> None:
    """An abort in the middle of a hit closes the blob's file."""
    eventually(lambda: open_blobs(entrepot) == 0, what="no file open")
    with client.open("GET", big[0]) as stream:
        stream.read(1)
        assert open_blobs(entrepot) == 1
        stream.abort()
    eventually(lambda: open_blobs(entrepot) == 0, what="no file open")


def test_a_client_that_leaves_a_miss_leaves_no_file_open(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 3: an abort in the middle of a miss closes the reader's file; the fetch goes on."""
    path, content = faults.add_blob("app", b"".join(incompressible("left", BIG)))
    content.gate = gate = Gate(MIB)
    with client.open("GET", HOST + path) as stream:
        stream.read(1)
        assert open_blobs(entrepot) == 2, "the fetch's own and the reader's"
        stream.abort()
    eventually(lambda: open_blobs(entrepot) == 1, what="one file open")
    gate.open()
    stored(entrepot)
    eventually(lambda: open_blobs(entrepot) == 0, what="no file open")
    assert client.get(HOST + path).cache_status == "entrepot; hit"


def test_a_client_that_has_read_enough_is_no_warning(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Whoever leaves in the middle of a body that is still growing, or of a range, is counted."""
    path, content = faults.add_blob("app", b"".join(incompressible("enough", BIG)))
    content.gate = gate = Gate(2 * MIB)
    wanted: list[dict[str, str]] = [{}, {"Range": f"bytes=0-{BIG - 2}"}, {"Range": "bytes=1000-"}]
    for headers in wanted:
        for leave in (Stream.abort, Stream.close):
            with client.open("GET", HOST + path, headers) as stream:
                assert len(stream.read(MIB)) == MIB
                leave(stream)
    eventually(lambda: entrepot.counter("client_left") == 6, what="all have left")
    gate.open()
    stored(entrepot)
    assert entrepot.counter("transfer_cut") == 0
    assert " WARNING " not in entrepot.log


def test_tls_and_plain_http_give_the_same(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 1: a blob is the same bytes over TLS and plain HTTP, as miss and as hit."""
    image = images.image("both-ways", [3 * MIB])
    layer = image.layers[0]
    upstreams.push(image, "plain.example.test:5000/both:1")
    bodies = []
    for base in ("http://plain.example.test:5000", "https://ports.example.test:5443"):
        url = f"{base}/v2/both/blobs/{layer.digest}"
        bodies.append(client.get(url).body)
        stored(entrepot)
        warm = client.get(url)
        assert warm.cache_status == "entrepot; hit"
        assert warm.headers["Content-Length"] == str(layer.size)
        bodies.append(warm.body)
    assert set(bodies) == {layer.read()}


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_many_requests_on_one_connection(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory, scheme: str
) -> None:
    """A kept-alive connection serves whole blobs, parts, heads and errors one after the other."""
    layer = images.image("kept-alive", [2 * MIB]).layers[0]
    upstreams.push(images.image("kept-alive", [2 * MIB]), "plain.example.test:5000/kept:1")
    plain = scheme == "http"
    base = "http://plain.example.test:5000" if plain else "https://ports.example.test:5443"
    target = f"{base if plain else ''}/v2/kept/blobs/{layer.digest}"
    missing = f"{base if plain else ''}/v2/kept/blobs/sha256:{'0' * 64}"
    connection, body = client.connection(base), layer.read()

    def ask(method: str, target: str, **headers: str) -> tuple[int, bytes]:
        connection.request(method, target, headers=headers)
        response: http.client.HTTPResponse = connection.getresponse()
        assert not response.will_close
        return response.status, response.read()

    with closing(connection):
        for _ in range(10):
            assert ask("GET", target) == (200, body)
            assert ask("GET", target, Range="bytes=5-1500000") == (206, body[5:1500001])
            assert ask("HEAD", target) == (200, b"")
            assert ask("GET", target, **{"If-None-Match": f'"{layer.digest}"'}) == (304, b"")
            assert ask("GET", missing)[0] == 404
    assert "Traceback" not in entrepot.log

"""Requests that no decent client sends: read as upstream would read them, or refused."""

import socket
import threading
from contextlib import closing

import pytest

from rig.client import Client
from rig.faults import Exchange, FaultServer, status
from rig.images import MIB
from rig.proxy import Entrepot

FAULT = "fault.example.test"
HOST = f"Host: {FAULT}\r\n"
HIDDEN = "/v2/app/tags/smuggled"
"""Upstream must never see a request for this: it stands where only a body may."""

INNER = f"GET {HIDDEN} HTTP/1.1\r\n{HOST}\r\n"
UPLOAD = "PATCH /v2/app/blobs/uploads/1 HTTP/1.1\r\n" + HOST


def chunked(head: str = "Transfer-Encoding: chunked\r\n") -> str:
    """An upload in one chunk whose bytes are a request."""
    return f"{UPLOAD}{head}\r\n{len(INNER):x}\r\n{INNER}\r\n0\r\n\r\n"


def sized(head: str) -> str:
    """An upload whose fields give a length in some unusual way; the body is a request."""
    return f"{UPLOAD}{head}\r\n{INNER}"


def get(head: str = "", line: str = "GET /v2/app/tags/list HTTP/1.1") -> str:
    return f"{line}\r\n{HOST}{head}\r\n"


REFUSED = {
    "length and coding": chunked(f"Content-Length: {len(INNER)}\r\nTransfer-Encoding: chunked\r\n"),
    "coding and length": chunked("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
    "two lengths": sized(f"Content-Length: 0\r\nContent-Length: {len(INNER)}\r\n"),
    "two equal lengths": sized(f"Content-Length: {len(INNER)}\r\n" * 2),
    "a list of lengths": sized(f"Content-Length: {len(INNER)}, {len(INNER)}\r\n"),
    "a signed length": sized(f"Content-Length: +{len(INNER)}\r\n"),
    "a negative length": sized("Content-Length: -1\r\n"),
    "a hexadecimal length": sized(f"Content-Length: 0x{len(INNER):x}\r\n"),
    "a length with zeros": sized(f"Content-Length: 0{len(INNER)}\r\n"),
    "a length with an underscore": sized("Content-Length: 1_0\r\n"),
    "two codings": chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    "chunked twice": chunked("Transfer-Encoding: chunked, chunked\r\n"),
    "chunked not last": chunked("Transfer-Encoding: chunked, identity\r\n"),
    "an unknown coding": chunked("Transfer-Encoding: xchunked\r\n"),
    "a coding with a vertical tab": chunked("Transfer-Encoding: \x0bchunked\r\n"),
    "identity": sized("Transfer-Encoding: identity\r\n"),
    "coding in HTTP/1.0": chunked().replace("HTTP/1.1", "HTTP/1.0", 1),
    "a blank before the colon": chunked("Transfer-Encoding : chunked\r\n"),
    "a tab before the colon": sized(f"Content-Length\t: {len(INNER)}\r\n"),
    "a folded field": chunked("X: y\r\n Transfer-Encoding: chunked\r\n"),
    "a folded first field": get().replace(HOST, " X: y\r\n" + HOST),
    "a bare CR in a value": get("X: y\rTransfer-Encoding: chunked\r\n"),
    "a bare CR before the end": get("X: y\r\r\n"),
    "a NUL in a value": get("X: a\0b\r\n"),
    "a NUL in a name": get("X\0: a\r\n"),
    "a control character": get("X: a\x01b\r\n"),
    "a field without a name": get(": y\r\n"),
    "a field without a colon": get("nonsense\r\n"),
    "a tab in the request line": get(line="GET\t/v2/app/tags/list\tHTTP/1.1"),
    "two blanks in the request line": get(line="GET  /v2/app/tags/list HTTP/1.1"),
    "a bare CR in the request line": get(line="GET /v2/\rX HTTP/1.1"),
    "a NUL in the target": get(line="GET /v2/\0 HTTP/1.1"),
    "no version": get(line="GET /v2/app/tags/list"),
    "HTTP/2.0": get(line="GET /v2/app/tags/list HTTP/2.0"),
    "HTTP/0.9": get(line="GET /v2/app/tags/list HTTP/0.9"),
    "HTTP/1.10": get(line="GET /v2/app/tags/list HTTP/1.10"),
    "a method in lower case": get(line="get /v2/app/tags/list HTTP/1.1"),
    "CONNECT inside": f"CONNECT {FAULT}:443 HTTP/1.1\r\n{HOST}\r\n",
    "connect in lower case": f"connect http://{FAULT}/ HTTP/1.1\r\n{HOST}\r\n",
    "CONNECT of a path": f"CONNECT /v2/ HTTP/1.1\r\n{HOST}\r\n",
    "userinfo in the target": get(line=f"GET https://a:b@{FAULT}/v2/ HTTP/1.1"),
    "another scheme": get(line=f"GET ftp://{FAULT}/v2/ HTTP/1.1"),
    "an authority as the target": get(line=f"GET {FAULT}:443 HTTP/1.1"),
    "another host as the target": get(line="GET https://hub.example.test/v2/ HTTP/1.1"),
    "another port as the target": get(line=f"GET https://{FAULT}:444/v2/ HTTP/1.1"),
    "another port in Host": get().replace(HOST, f"Host: {FAULT}:444\r\n"),
    "userinfo in Host": get().replace(HOST, f"Host: a@{FAULT}\r\n"),
    "a path in Host": get().replace(HOST, f"Host: {FAULT}/x\r\n"),
    "Unicode in Host": get().replace(HOST, "Host: fäult.example.test\r\n"),
    "punycode in Host": get().replace(HOST, "Host: xn--fult-loa.example.test\r\n"),
    "two logins": get("Authorization: Basic YTph\r\nauthorization: Basic Yjpi\r\n"),
    "300 fields": get("X: y\r\n" * 300),
    "10,000 fields": get("X: y\r\n" * 10_000),
    "a field of 10 MB": get("X: " + "y" * 10_000_000 + "\r\n"),
    "a request line of 1 MB": get(line="GET /" + "y" * 1_000_000 + " HTTP/1.1"),
}
"""By what is wrong. Each is followed by a second request, which must not be answered."""

ENDED = {
    "a size that is none": "zz\r\nabc\r\n0\r\n\r\n",
    "a negative size": "-3\r\nabc\r\n0\r\n\r\n",
    "a size with 0x": "0x3\r\nabc\r\n0\r\n\r\n",
    "a blank before the size": " 3\r\nabc\r\n0\r\n\r\n",
    "a size of 30 digits": "f" * 30 + "\r\nabc\r\n0\r\n\r\n",
    "a bare LF after the size": "3\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": "3\r\nabcdef\r\n0\r\n\r\n",
    "a bare LF after a chunk": "3\r\nabc\n0\r\n\r\n",
    "an endless size line": "3;" + "x" * 1_000_000,
    "trailers": "3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "endless trailers": "3\r\nabc\r\n0\r\n" + "X: y\r\n" * 50_000,
}
"""Malformed chunks: the head was already passed on, so all that is left is to end it."""


def exchange(sock: socket.socket, request: str | bytes) -> bytes:
    """Send something and return all that comes until the end of the connection."""
    data = request if isinstance(request, bytes) else request.encode("utf-8")
    received = b""
    try:
        sock.sendall(data)
        while more := sock.recv(1 << 16):
            received += more
    except (ConnectionError, OSError):
        pass  # it was closed while we still sent
    return received


@pytest.fixture
def warm(client: Client, faults: FaultServer) -> FaultServer:
    """The upstream, with what the requests here ask for; known as a registry already."""
    faults.routes["/v2/app/tags/list"] = status(200, b"tags")
    faults.routes["/v2/app/tags/after"] = status(200, b"after")
    faults.routes[HIDDEN] = status(200, b"smuggled")
    client.certificate(FAULT)
    faults.requests.clear()
    return faults


AFTER = f"GET /v2/app/tags/after HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"


def test_what_could_be_read_in_two_ways_is_refused(
    entrepot: Entrepot, client: Client, warm: FaultServer
) -> None:
    """Promise 2: an error and the end of the connection; upstream hears of nothing."""
    for name, request in REFUSED.items():
        with client.tunnel(FAULT) as tls:
            answer = exchange(tls, request + AFTER)
        large = len(request) > MIB // 2  # the answer may be lost when the connection is reset
        assert (large and not answer) or answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5"), name
        if b" 421 " not in answer[:16]:
            assert answer.count(b"HTTP/1.1 ") <= 1, name
            assert not warm.requests, name
        assert not warm.of(path=HIDDEN), name
        warm.requests.clear()
    assert entrepot.local("/healthz").status == 200
    assert "Traceback" not in entrepot.log


def test_a_malformed_body_ends_the_connection(
    entrepot: Entrepot, client: Client, warm: FaultServer
) -> None:
    """Promise 2: no byte after a broken chunk is read as a request, and none is held."""
    for name, body in ENDED.items():
        with client.tunnel(FAULT) as tls:
            answer = exchange(tls, f"{UPLOAD}Transfer-Encoding: chunked\r\n\r\n{body}{INNER}")
        assert b" 200 " not in answer, name
        assert not warm.of(path=HIDDEN), name
    assert "Traceback" not in entrepot.log


@pytest.mark.parametrize("body", [chunked(), sized(f"Content-Length: {len(INNER)}\r\n")])
def test_a_request_in_a_body_stays_a_body(client: Client, warm: FaultServer, body: str) -> None:
    """Promise 2: well-formed bodies end where they say, and the next request comes after."""
    taken = []

    def take(exchange: Exchange) -> None:
        source = exchange._handler.rfile  # noqa: SLF001 chunks too, and no byte more
        if exchange.request.headers.get("transfer-encoding") == "chunked":
            while size := int(source.readline(), 16):
                taken.append(source.read(size))
                source.readline()
            source.readline()
        else:
            taken.append(exchange.read_body())
        exchange.send(202)

    warm.routes["/v2/app/blobs/uploads/1"] = take
    with client.tunnel(FAULT) as tls:
        answer = exchange(tls, body + AFTER)
    assert b"".join(taken) == INNER.encode()
    assert (answer.count(b"HTTP/1.1 "), answer.endswith(b"after")) == (2, True)
    assert not warm.of(path=HIDDEN)


def test_pipelined_requests_are_answered_in_order(client: Client, warm: FaultServer) -> None:
    """Each of several requests sent at once gets its own answer."""
    path, _ = warm.add_blob("app", b"in order")
    one = get() + get(line=f"GET {path} HTTP/1.1") + "\r\n" + get(line=f"HEAD {path} HTTP/1.1")
    with client.tunnel(FAULT) as tls:
        answer = exchange(tls, one + AFTER)
    assert answer.count(b"HTTP/1.1 200") == 4
    assert answer.index(b"tags") < answer.index(b"in order") < answer.index(b"after")


@pytest.mark.unforked
def test_a_flood_of_pipelined_requests_is_not_held(
    entrepot: Entrepot, client: Client, warm: FaultServer
) -> None:
    """Promise 6: who sends on and on while an answer is owed is cut off."""
    path, content = warm.add_blob("app", b"late")
    content.wait = threading.Event()
    before = entrepot.rss()
    try:
        with client.tunnel(FAULT) as tls:
            tls.sendall(get(line=f"GET {path} HTTP/1.1").encode())
            exchange(tls, get().encode() * 400_000)
        assert entrepot.rss() - before < 20 * MIB
    finally:
        content.wait.set()


CONNECTS = [
    "CONNECT fault.example.test HTTP/1.1",
    "CONNECT fault.example.test:0 HTTP/1.1",
    "CONNECT fault.example.test:99999 HTTP/1.1",
    "CONNECT fault.example.test:443x HTTP/1.1",
    "CONNECT :443 HTTP/1.1",
    "CONNECT a:b@fault.example.test:443 HTTP/1.1",
    "CONNECT https://fault.example.test:443 HTTP/1.1",
    "CONNECT /v2/ HTTP/1.1",
    "CONNECT * HTTP/1.1",
    f"CONNECT {'a' * 300}.test:443 HTTP/1.1",
    f"CONNECT {'.'.join(['a' * 60] * 6)}:443 HTTP/1.1",
    "CONNECT [::1:443 HTTP/1.1",
    "CONNECT [fe80::1%25eth0]:443 HTTP/1.1",
    "GET fault.example.test:443 HTTP/1.1",
    "GET http:///v2/ HTTP/1.1",
    "GET http://fault.example.test:0/ HTTP/1.1",
    "GET ftp://fault.example.test/ HTTP/1.1",
    "GET http://a:b@fault.example.test/v2/ HTTP/1.1",
]


@pytest.mark.parametrize("line", CONNECTS)
def test_a_nonsensical_target_is_refused(entrepot: Entrepot, line: str) -> None:
    """A target that names no host and port is an error and the end of the connection."""
    with closing(socket.create_connection(("127.0.0.1", entrepot.port), 30)) as sock:
        answer = exchange(sock, f"{line}\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5")
    assert "Traceback" not in entrepot.log


@pytest.mark.parametrize("line", ["OPTIONS * HTTP/1.1", "GET /v2/ HTTP/1.1", "GET // HTTP/1.1"])
def test_the_proxys_own_port_is_no_registry(entrepot: Entrepot, line: str) -> None:
    """Origin-form to the proxy itself is never forwarded by its Host."""
    with closing(socket.create_connection(("127.0.0.1", entrepot.port), 30)) as sock:
        answer = exchange(sock, f"{line}\r\n{HOST}Connection: close\r\n\r\n")
    assert answer.split()[1] in (b"404", b"405")


def _odd_paths(path: str) -> list[str]:
    repository, digest = path.split("/blobs/")
    upper = digest.replace("sha256:", "SHA256:")
    return [
        f"{repository}/blobs/../blobs/{digest}",
        f"{repository}/blobs/%2e%2e/blobs/{digest}",
        f"{repository}/blobs/.%2E/blobs/{digest}",
        f"{repository}%2fblobs/{digest}",
        f"{repository}/blobs%2F{digest}",
        f"/{path}",
        path.replace("/v2/", "/v2//"),
        path.replace("/v2/", "/v2/./"),
        path.replace("/v2/", "/V2/"),
        path.replace("/app/", "/app;x=1/"),
        path.replace("/app/", "/APP/"),
        path.replace("/app/", "/app\\/"),
        path.replace("/app/", "/a%70p/"),
        path.replace("/app/", "/åpp/"),
        path.replace("/app/", f"/{'a' * 300}/"),
        f"{repository}/blobs/uploads/../{digest}",
        f"{repository}/blobs/{upper}",
        f"{repository}/blobs/sha256:{digest[7:].upper()}",
        f"{repository}/blobs/{digest}0",
        f"{repository}/blobs/{digest[:-1]}",
        f"{repository}/blobs/{digest.replace(':', '%3a')}",
        f"{repository}/blobs/{digest}/",
        f"{repository}/blobs/{digest}?x=1",
        f"{repository}/blobs/{digest}?",
        f"{repository}/blobs/{digest}#x",
        f"{repository}/blobs/{digest}%00",
        f"{repository}/blobs/{digest}%20",
        f"{repository}/blobs/{digest};x",
        f"{repository}/manifests/{digest}",
        f"{repository}/blobs/sha512:{digest[7:]}",
    ]


def test_only_the_plain_path_is_the_blob(
    entrepot: Entrepot, client: Client, warm: FaultServer
) -> None:
    """Promise 2: every other spelling is upstream's to judge, as it was spelt."""
    path, content = warm.add_blob("app", b"the blob")
    assert client.get(f"https://{FAULT}{path}").body == content.body
    odd: list[str | bytes] = [*_odd_paths(path), path.encode().replace(b"app", b"\xc0\xafpp")]
    for spelt in odd:
        raw = spelt if isinstance(spelt, bytes) else spelt.encode()
        warm.requests.clear()
        with client.tunnel(FAULT) as tls:
            line = b"GET " + raw + b" HTTP/1.1\r\n" + HOST.encode()
            answer = exchange(tls, line + b"Connection: close\r\n\r\n")
        hit = b"Cache-Status: entrepot; hit" in answer
        assert not hit, spelt
        if answer[9:12] != b"400":
            (seen,) = warm.requests
            whole = seen.path + (f"?{seen.query}" if seen.query else "")
            # Python's http.server makes one slash of several at the begin.
            assert whole.encode("latin-1") == b"/" + raw.lstrip(b"/").removesuffix(b"?"), spelt
    assert "Traceback" not in entrepot.log

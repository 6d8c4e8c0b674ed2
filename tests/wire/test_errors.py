"""Answers of the proxy's own: an OCI error with the reason for registries' clients, never HTML."""

import json
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from rig.client import Answer, Client, ConnectRefusedError
from rig.faults import FaultServer, Handler, status
from rig.images import MIB
from rig.ports import free_port
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

AWAY, PLAIN, WEB = "away.example.test", "away-plain.example.test:5000", "web.example.test:8080"
DIGEST = "sha256:" + "0" * 64
OCTETS = {"Content-Type": "application/octet-stream"}
PASSED = {
    f"/v2/app/referrers/{DIGEST}": "referrers",
    "/v2/app/tags/list?n=2": "tags",
    "/v2/_catalog": "catalog",
    "/v2/app/blobs/uploads/": "upload",
    "/v2/app/elsewhere": "other",
}
UPLOAD = f"PATCH /v2/app/blobs/uploads/1 HTTP/1.1\r\nHost: {AWAY}\r\n"


@pytest.fixture
def registry(upstreams: Upstreams) -> Iterator[FaultServer]:
    """A registry of the test's own, to stop."""
    server = FaultServer(upstreams.authority, AWAY)
    yield server
    with suppress(OSError):
        server.stop()


def problem(answer: Answer) -> dict[str, object]:
    """The one error of an answer of ours, which is well-formed in all else."""
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.cache_status.startswith("entrepot; ")
    (error,) = json.loads(answer.body)["errors"]
    assert set(error) == {"code", "message", "detail"}
    found: dict[str, object] = error
    return found


def raw(sock: socket.socket, request: str) -> tuple[bytes, bytes]:
    """Send something; the head and the body of what comes until the end of the connection."""
    sock.sendall(request.encode())
    received = b""
    while more := sock.recv(1 << 16):
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


def test_a_registry_that_is_away(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, registry: FaultServer
) -> None:
    """What passes through fails as all else does: with the reason, counted, and soon at once."""
    entrepot = start_entrepot(
        registry=[AWAY, PLAIN], resolve=[*registry.resolve, f"{PLAIN}:127.0.0.1:{free_port()}"]
    )
    client = entrepot.client()
    client.certificate(AWAY)
    registry.stop()
    told = "upstream: https://away.example.test: connection refused"
    for number, (target, detail) in enumerate(PASSED.items()):
        method = "POST" if detail == "upload" else "GET"
        answer = client.request(method, f"https://{AWAY}{target}")
        error = problem(answer)
        assert answer.cache_status == f"entrepot; fwd=bypass; detail={detail}"
        if number < 3:
            reason = {"upstream": f"https://{AWAY}", "reason": "connection refused"}
            assert (answer.status, error["message"], error["detail"]) == (502, told, reason)
        else:
            assert error["message"] == f"{told}; it does not answer; asked again soon"
            assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
        assert error["code"] == "UNAVAILABLE"
    log = entrepot.log
    assert "upstream_failed url=https://away.example.test/v2/app/tags/list reason=" in log
    assert log.count(" upstream_failed ") == 3
    assert log.count(" upstream_away host=https://away.example.test state=down ") == 1
    head = client.head(f"https://{AWAY}/v2/app/tags/list")
    assert (head.status, head.body) == (503, b"")
    assert int(head.headers["Content-Length"]) > 0
    held = client.request("PATCH", f"https://{AWAY}/v2/app/blobs/uploads/1", OCTETS, b"x" * MIB)
    assert (held.status, problem(held)["code"]) == (503, "UNAVAILABLE")
    plain = client.request("PATCH", f"http://{PLAIN}/v2/app/blobs/uploads/1", OCTETS, b"x" * MIB)
    assert (plain.status, problem(plain)["code"]) == (502, "UNAVAILABLE")
    cold = client.manifest(f"https://{AWAY}/v2/app/manifests/1")
    assert (cold.status, cold.cache_status) == (503, "entrepot; fwd=miss")
    assert problem(cold)["detail"]
    assert upstreams


TROUBLES: dict[str, tuple[Handler, str]] = {
    "closes": (lambda exchange: exchange.cut(reset=False), "the connection broke off"),
    "resets": (lambda exchange: exchange.cut(reset=True), "the connection broke off"),
    "no HTTP": (lambda exchange: exchange.raw(b"220 ready\r\n\r\n"), "its answer is no valid HTTP"),
    "two lengths": (
        lambda exchange: exchange.raw(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        ),
        "its answer could be read in two ways",
    ),
    "a head without end": (
        lambda exchange: exchange.raw(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 2 * MIB),
        "its answer's head is too long",
    ),
}


def test_a_registry_in_trouble(entrepot: Entrepot, client: Client, faults: FaultServer) -> None:
    """Whatever it sends instead of an answer is told in a few words, and not quoted."""
    for name, (handler, reason) in TROUBLES.items():
        faults.routes["/v2/app/blobs/uploads/x"] = handler
        answer = client.get("https://fault.example.test/v2/app/blobs/uploads/x?secret=1")
        assert (name, answer.status) == (name, 502)
        assert problem(answer)["message"] == f"upstream: https://fault.example.test: {reason}"
        where = "url=https://fault.example.test/v2/app/blobs/uploads/x"
        line = f'upstream_failed {where} reason="{reason}"'
        assert line in entrepot.log
    assert "upstream_away" not in entrepot.log  # it does answer
    assert "secret" not in entrepot.log


def test_a_certificate_that_does_not_fit(
    start_entrepot: "StartEntrepot", upstreams: Upstreams
) -> None:
    """What passes through says of it what a fetch does, in one line of the log."""
    server = FaultServer(
        None, AWAY, context=upstreams.authority.issue("other.test").server_context()
    )
    try:
        entrepot = start_entrepot(registry=AWAY, resolve=server.resolve)
        answer = entrepot.client().get(f"https://{AWAY}/v2/app/blobs/uploads/x")
    finally:
        server.stop()
    reason = "TLS: certificate verify failed"
    assert (answer.status, reason in str(problem(answer)["message"])) == (502, True)
    assert [line.split()[3] for line in entrepot.log.splitlines() if " WARNING " in line] == [
        "upstream_failed"
    ]


def test_a_registry_whose_packets_are_dropped(
    start_entrepot: "StartEntrepot", upstreams: Upstreams
) -> None:
    """What passes through waits for a connection, and its TLS, no longer than a fetch would."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        entrepot = start_entrepot(
            registry=[AWAY, PLAIN],
            resolve=[f"{AWAY}:443:127.0.0.1:{port}"],
            connect_timeout="0.2s",
        )
        answer = entrepot.client(timeout=20).get(f"https://{AWAY}/v2/app/blobs/uploads/x")
    assert (answer.status, "no answer in time" in str(problem(answer)["message"])) == (502, True)
    assert "state=slow" in entrepot.log
    assert upstreams


@pytest.fixture
def mirror_port() -> int:
    return free_port()


def test_a_client_that_is_refused(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, mirror_port: int
) -> None:
    """Errors before anything is asked: OCI errors to who talks to a registry, else a line."""
    entrepot = start_entrepot(
        registry=AWAY,
        mirror=f"127.0.0.1:{mirror_port}",
        resolve=[f"{WEB}:127.0.0.1:{free_port()}", f"gone.test:443:127.0.0.1:{free_port()}"],
    )
    client, ours = entrepot.client(), ("127.0.0.1", entrepot.port)
    requests = {
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n": b"400",
        "GET /v2/ HTTP/2.0\r\nHost: a\r\n\r\n": b"505",
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nX: " + "y" * 2 * MIB: b"431",
        f"GET ftp://{AWAY}/v2/ HTTP/1.1\r\nHost: {AWAY}\r\n\r\n": b"4",
        f"{UPLOAD}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n": b"400",
        f"CONNECT {AWAY}:443 HTTP/1.1\r\nHost: {AWAY}\r\n\r\n": b"400",
        UPLOAD.replace(AWAY, "b.test") + "Content-Length: 1000\r\n\r\nx": b"421",
    }
    for request, code in requests.items():
        with client.tunnel(AWAY) as tls:
            head, body = raw(tls, request)
        assert head.split()[1].startswith(code), request[:80]
        assert b"application/json" in head, request[:80]
        assert b"\r\nCache-Status: entrepot; detail=error" in head
        assert json.loads(body)["errors"][0]["message"]
        assert str(len(body)).encode() in head
    for request in (
        "nonsense\r\n\r\n",
        f"GET http://{WEB}/ HTTP/1.1\r\nHost: {WEB}\r\n\r\n",
        f"POST http://{WEB}/ HTTP/1.1\r\nHost: {WEB}\r\nContent-Length: 5\r\n\r\nx",
    ):
        with closing(socket.create_connection(ours, 30)) as sock:
            head, body = raw(sock, request)
        assert b"content-type: text/plain" in head.lower(), request
        assert (body[-1:], b"<" in body) == (b"\n", False), request
    with pytest.raises(ConnectRefusedError, match="Cannot connect: connection refused"):
        client.connect("gone.test")
    with closing(socket.create_connection(("127.0.0.1", mirror_port), 30)) as sock:
        put = "PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: m\r\nContent-Length: 10000000\r\n\r\nx"
        head, body = raw(sock, put)
    assert (head.split()[1], json.loads(body)["errors"][0]["code"]) == (b"405", "UNSUPPORTED")
    assert upstreams
    assert "Traceback" not in entrepot.log


def test_a_body_that_is_no_http(client: Client, faults: FaultServer) -> None:
    """A client whose chunks are malformed is told so, whatever the registry would have said."""
    faults.routes["/v2/app/blobs/uploads/1"] = status(202)
    upload = UPLOAD.replace(AWAY, "fault.example.test") + "Transfer-Encoding: chunked\r\n\r\n"
    for body, told in (
        ("zz\r\nabc\r\n0\r\n\r\n", "the body is no valid HTTP"),
        ("3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n", "trailers are not supported"),
    ):
        with client.tunnel("fault.example.test") as tls:
            head, answer = raw(tls, upload + body)
        assert (head.split()[1], json.loads(answer)["errors"][0]["message"]) == (b"400", told)


def test_a_password_is_asked_for_without_html(
    start_entrepot: "StartEntrepot", upstreams: Upstreams
) -> None:
    """The proxy's own 407, to CONNECT and to a request with a body."""
    entrepot = start_entrepot(proxyauth="me:hidden")
    assert upstreams
    host = f"Host: {WEB}\r\n"
    for request in (
        f"CONNECT {AWAY}:443 HTTP/1.1\r\nHost: {AWAY}\r\n\r\n",
        f"GET http://{WEB}/ HTTP/1.1\r\n{host}Connection: close\r\n\r\n",
        f"POST http://{WEB}/ HTTP/1.1\r\n{host}Content-Length: 10000000\r\n\r\nx",
    ):
        with closing(socket.create_connection(("127.0.0.1", entrepot.port), 30)) as sock:
            sock.sendall(request.encode())
            answer = b""
            while b"password\n" not in answer and (more := sock.recv(1 << 16)):
                answer += more
        assert answer.startswith(b"HTTP/1.1 407 "), request
        assert b"proxy-authenticate: basic" in answer.lower()
        assert (b"text/plain" in answer, b"<" in answer) == (True, False)


def test_what_any_client_may_do_is_no_warning(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """A port scan, half a handshake, half a request, half an answer: counted at most."""
    path, content = faults.add_blob("app", b"x" * 4 * MIB)
    faults.routes["/v2/app/tags/list"] = content
    ours = ("127.0.0.1", entrepot.port)
    for data in (b"", b"GET / HTTP/1.1\r\nHo", b"\x16\x03\x01\x00\x05hello", b"\x00\x01\x02\x03"):
        with closing(socket.create_connection(ours, 30)) as sock:
            sock.sendall(data)
    for data in (b"", b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\x00\x05hello", b"GET / HT"):
        with closing(client.connect("fault.example.test")) as sock:
            sock.sendall(data)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("AES128-SHA")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with closing(client.connect("fault.example.test")) as sock, pytest.raises(ssl.SSLError):
        old.wrap_socket(sock, server_hostname="fault.example.test")
    with closing(client.tunnel("fault.example.test")) as tls:
        tls.sendall(b"GET /v2/app/tags")
    with closing(client.tunnel("fault.example.test")) as tls:
        raw_socket = socket.socket(fileno=tls.detach())
        with closing(raw_socket):
            raw_socket.settimeout(30)
            raw_socket.sendall(b"\x17\x03\x03\x00\x05wrong")
            raw_socket.recv(1 << 16)
    for target in (path, "/v2/app/tags/list"):
        with client.open("GET", f"https://fault.example.test{target}") as stream:
            stream.read(1)
            stream.abort()
    upload = UPLOAD.replace(AWAY, "fault.example.test")
    with closing(client.tunnel("fault.example.test")) as tls:
        tls.sendall(f"{upload}Content-Length: 10\r\n\r\nhalf".encode())
        tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: entrepot.counter("handshake_failed") >= 3, what="counted")
    faults.await_request(path="/v2/app/tags/list")
    assert client.get(f"https://fault.example.test{path}").status == 200
    assert [line for line in entrepot.log.splitlines() if " INFO " not in line] == []

"""Bad input from either side: one clear line, the right status or exit code, and nothing lost.

What a person sees never needs Python to be understood, and never says where our source lies.
`tests/wire/test_command_line.py` has the command line's ordinary mistakes.
"""

import json
import re
import socket
import subprocess
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Answer, Client
from rig.faults import Exchange, FaultServer, status
from rig.images import KIB, ImageFactory, incompressible
from rig.process import clean_environment
from rig.proxy import PYTHON, Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

pytestmark = pytest.mark.wire
FAULT = "https://fault.example.test"
PYTHONS_WORDS = re.compile(r"Traceback|Errno|[A-Z]\w+(Error|Exception)\b|_ssl\.c|\.py\b|codec")


def content(seed: str, size: int = 100 * KIB) -> bytes:
    return b"".join(incompressible(seed, size))


# The command line: a file that is needed, and what is wrong with it


def no_file(_: Path) -> None:
    """Leave the folder empty."""


def file(name: str, data: bytes, mode: int = 0o600) -> Callable[[Path], None]:
    """Put a file there."""

    def put(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)

    return put


def directory(name: str) -> Callable[[Path], None]:
    """Put a folder there."""
    return lambda folder: (folder / name).mkdir(parents=True)


SERVE = "serve --data data --listen 127.0.0.1:0"
COMMANDS: tuple[tuple[str, Callable[[Path], None], str], ...] = (
    (f"{SERVE} --upstream-ca x", file("x", b"x"), "CA file 'x': no certificate in it; want PEM"),
    (f"{SERVE} --upstream-ca x", directory("x"), "CA file 'x': is a directory; want PEM"),
    (f"{SERVE} --config x", file("x", b"\xff\xfe"), "x is not a TOML file: it is no UTF-8 text"),
    (f"{SERVE} --config x", file("x", b"[serve]"), "x: unknown option 'serve'"),
    (f"{SERVE} --scrub 5x", no_file, "scrub: expected a duration such as 30d"),
    ("serve --data data --listen no.invalid:1", no_file, "cannot listen on no.invalid:1: the name"),
    ("serve --data data --listen 192.0.2.1:1", no_file, "cannot listen on 192.0.2.1:1: cannot"),
    (SERVE, file("data", b"x"), "data folder 'data': something that is no folder is there"),
    (SERVE, directory("data/upstream-ca.pem"), "cannot start: is a directory: 'data/upstream-ca"),
    (SERVE, file("data/ca/mitmproxy-ca.pem", b"x"), "data/ca/mitmproxy-ca.pem"),
    ("ca create --data data", file("data", b"x"), "something that is no folder is there: 'data"),
)


@pytest.mark.parametrize(("words", "prepare", "said"), COMMANDS, ids=range(len(COMMANDS)))
def test_a_bad_file_or_address_is_one_clear_line(
    tmp_path: Path, words: str, prepare: Callable[[Path], None], said: str
) -> None:
    """It names the file or the value, and the exit code is 1."""
    prepare(tmp_path)
    ended = run(tmp_path, words)
    assert (ended.returncode, ended.stdout) == (1, ""), ended
    (line,) = ended.stderr.splitlines()
    assert said in line
    assert not PYTHONS_WORDS.search(line)


def run(folder: Path, words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [PYTHON, "-m", "entrepot.cli", *words.split()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env=clean_environment(folder, **env),
    )


def test_a_bad_system_store_is_one_clear_line(tmp_path: Path) -> None:
    """SSL_CERT_FILE counts as the system's store, so what is wrong with it is said as well."""
    (tmp_path / "roots.pem").write_text("no certificate")
    ended = run(tmp_path, SERVE, SSL_CERT_FILE=str(tmp_path / "roots.pem"))
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert "roots.pem': no certificate in it; want PEM certificates" in line


def test_a_port_in_use_leaves_nothing_behind(tmp_path: Path) -> None:
    """The address is tried before a data folder is made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run(tmp_path, f"serve --data data --listen {address}")
    (line,) = ended.stderr.splitlines()
    assert line == f"entrepot: cannot listen on {address}: address already in use; see --listen"
    assert not (tmp_path / "data").exists()


# Clients


def asked(client: Client, request: bytes) -> tuple[int, bytes]:
    """Send bytes through an intercepted connection; the status (0: closed) and all that came."""
    with client.tunnel("fault.example.test") as tls:
        tls.sendall(request)
        tls.settimeout(20)
        received = b""
        try:
            while more := tls.recv(1 << 16):
                received += more
        except OSError:
            pass
    found = re.match(rb"HTTP/1\.[01] ([0-9]{3}) ", received)
    return (int(found[1]) if found else 0), received


def get(path: str, *lines: str, host: str = "fault.example.test") -> bytes:
    head = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *lines]
    return "\r\n".join([*head, "", ""]).encode("latin-1")


def test_what_clients_get_wrong(entrepot: Entrepot, faults: FaultServer) -> None:
    """What is ours is answered with a reason, what is the registry's goes there untouched."""
    client, body = entrepot.client(), content("asked wrongly")
    path, _ = faults.add_blob("app", body)
    assert client.get(FAULT + path).body == body
    half = path[:-1]
    table: list[tuple[bytes, set[int], bytes]] = [
        (get(path, "Range: bytes=x-y"), {200}, b""),
        (get(path, "Range: bytes=9-1"), {200}, b""),
        (get(path, "Range: lines=1-2"), {200}, b""),
        (get(path, f"Range: bytes={len(body)}-"), {416}, b"has %d bytes" % len(body)),
        (get(path, "Range: bytes=99999999999999999999-"), {200, 416}, b""),
        (get(path, "If-None-Match: nonsense"), {200}, b""),
        (get(path, "Accept: \xff\xfe"), {200}, b""),
        (get(path, "Authorization: "), {200}, b""),
        (get(path, host="other.example.test"), {421}, b"is not the host"),
        (get(path, "Host: fault.example.test"), {400, 421}, b""),
        (get(half), {404}, b""),  # no digest: the registry's to refuse, as are the next
        (get(half.replace("sha256:", "md5:")), {404}, b""),
        (get("/v2/../../etc/passwd"), {404}, b""),
        (get("/v2/app/manifests/%00"), {404}, b""),
        (get("/v2/APP/manifests/1"), {404}, b""),
        (get("/v2/app/manifests/" + "t" * 129), {404}, b""),
        (b"nonsense\r\n\r\n", {0, 400}, b""),
        (b"GET " + path.encode() + b" HTTP/9.9\r\n\r\n", {505}, b""),
        (get(path, "no colon"), {0, 400}, b""),
        (get(path, "Content-Length: x"), {0, 400}, b""),
        (get(path, "Content-Length: 1", "Transfer-Encoding: chunked"), {0, 400}, b""),
        (get(path, "Long: " + "x" * 100_000), {431}, b""),
    ]
    for request, statuses, said in table:
        code, answer = asked(client, request)
        assert (request[-60:], code in statuses, code) == (request[-60:], True, code)
        assert said in answer
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert not PYTHONS_WORDS.search(head.decode("latin-1"))
        if code >= 400:
            assert not PYTHONS_WORDS.search(rest.decode("latin-1"))
        if code in {416, 421} and b"application/json" in head:
            (problem,) = json.loads(rest)["errors"]
            assert {"code", "message", "detail"} == set(problem)
    client.await_stored()
    assert client.get(FAULT + path).cache_status == "entrepot; hit"
    assert "Traceback" not in entrepot.log


def test_what_the_proxy_itself_is_asked_wrongly(entrepot: Entrepot) -> None:
    """Unknown pages and methods get an answer that says what there is."""
    for request, code in (
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", b"405"),
        (b"CONNECT nonsense HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT fault.example.test:99999 HTTP/1.1\r\n\r\n", b"400"),
        (b"\x00\x01\x02\r\n\r\n", b""),
    ):
        with socket.create_connection(("127.0.0.1", entrepot.port), timeout=20) as raw:
            raw.sendall(request)
            answer = b""
            while more := raw.recv(1 << 16):
                answer += more
        assert (request, code in answer.partition(b"\r\n")[0]) == (request, True)
        assert not PYTHONS_WORDS.search(answer.decode("latin-1"))
    assert entrepot.local("/healthz").status == 200
    assert "Traceback" not in entrepot.log


# Registries


def raw(head: str, body: bytes = b"") -> Callable[[Exchange], None]:
    """Answer with bytes that no decent server sends."""

    def answer(exchange: Exchange) -> None:
        connection = exchange._handler.connection  # noqa: SLF001 below HTTP
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        exchange.cut(reset=False)

    return answer


def test_what_registries_answer_wrongly(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """The client gets 502 with a reason, or the registry's own answer; the next pull is whole."""
    entrepot = start_entrepot(registry=["fault.example.test"])
    client, bodies = entrepot.client(timeout=30), {}
    good = "Content-Length: 5\nContent-Type: application/octet-stream\nConnection: close"
    table: dict[str, Callable[[Exchange], None]] = {
        "no HTTP": raw("SSH-2.0-OpenSSH_9.2"),
        "status of letters": raw("HTTP/1.1 OK fine"),
        "status 0": raw(f"HTTP/1.1 000 none\n{good}", b"hello"),
        "status 999": raw(f"HTTP/1.1 999 high\n{good}", b"hello"),
        "length of letters": raw("HTTP/1.1 200 OK\nContent-Length: many", b"hello"),
        "negative length": raw("HTTP/1.1 200 OK\nContent-Length: -5", b"hello"),
        "two lengths": raw("HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6", b"hello"),
        "unknown coding": raw("HTTP/1.1 200 OK\nTransfer-Encoding: zip", b"hello"),
        "no colon": raw(f"HTTP/1.1 200 OK\n{good}\nnonsense", b"hello"),
        "other bytes": raw(f"HTTP/1.1 200 OK\n{good}", b"hello"),
        "empty": status(200),
        "redirect to nowhere": status(307, headers={"Location": "http://["}),
        "redirect to a file": status(307, headers={"Location": "file:///etc/passwd"}),
        "redirect to itself": status(307, headers={"Location": ""}),
        "range unasked": raw(f"HTTP/1.1 206 Partial\n{good}\nContent-Range: x", b"hello"),
        "encoded": raw(f"HTTP/1.1 200 OK\n{good}\nContent-Encoding: gzip", b"hello"),
        "digest of another kind": raw(
            f"HTTP/1.1 200 OK\n{good}\nDocker-Content-Digest: crc:1", b"hello"
        ),
    }
    for name, handler in table.items():
        for kind in ("blobs", "manifests"):
            bodies[name, kind] = body = content(f"{name} {kind}", 3000)
            path, _ = faults.add_blob("app", body)
            url = path.replace("/blobs/", f"/{kind}/")
            right = faults.routes[path]
            faults.routes[url] = handler
            refused(name, client, FAULT + url, body)
            faults.routes[url] = right
            answer = client.get(FAULT + url)
            assert (name, kind, answer.body == body) == (name, kind, True)
    assert "Traceback" not in entrepot.log
    assert not PYTHONS_WORDS.search(entrepot.log)


def refused(name: str, client: Client, url: str, body: bytes) -> None:
    """Ask, and see that what comes is no success; a transfer that is cut counts as refused."""
    try:
        answer: Answer = client.get(url)
    except (OSError, HTTPException):
        return
    assert (name, answer.body == body) == (name, False)


NO_MANIFESTS = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"layers": 7}',
    b'{"layers": [7, {"digest": []}]}',
    b'{"config": {"digest": "sha256:x"}}',
    b"\xff" * 9,
    b"[" * 100_000,
)


def test_what_is_no_manifest_passes(
    entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """Whatever a registry says instead of a manifest, a client gets it as it came."""
    client, image = entrepot.client(), images.image("after nonsense")
    faults.publish(image, "good", "1")
    for number, text in enumerate(NO_MANIFESTS):
        url = f"/v2/bad/manifests/{number}"
        media_type = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        faults.routes[url] = status(200, text, media_type)
        for _ in range(2):
            answer = client.manifest(FAULT + url)
            assert (answer.status, answer.body) == (200, text)
    assert client.manifest(f"{FAULT}/v2/good/manifests/1").body == image.root.body
    assert "Traceback" not in entrepot.log

"""Behind a company's proxy: a real squid, which alone can reach anything and wants a password.

The proxy under test is told by ``--resolve`` that every name is at a trap: whatever it sends past
squid lands there.
"""

import hashlib
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest

from rig.client import Client, ConnectRefusedError
from rig.greeter import GREETING, greeter
from rig.images import Image, ImageFactory
from rig.needs import need, need_root
from rig.process import eventually
from rig.squid import FORBIDDEN, NOWHERE, Squid
from rig.upstreams import WEB_BODY, Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

PASSWORD = "odd:/@ pass"  # noqa: S105
HUB, PLAIN = "https://hub.example.test", "http://plain.example.test:5000"
TOKENS = "https://registry.example.test"
MAIL = "mail.example.test"
BLOB = b"pushed from behind a proxy"


class Trap:
    """Takes connections that should never be made."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def caught(self) -> int:
        """How many have come since it was last asked."""
        self._listener.settimeout(0)
        count = 0
        while True:
            try:
                self._listener.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


@pytest.fixture(scope="module")
def names(upstreams: Upstreams) -> Iterator[list[str]]:
    """Where squid finds everything."""
    with greeter() as port:
        yield [*upstreams.resolve, f"{MAIL}:443:127.0.0.1:{port}"]


@pytest.fixture(scope="module")
def squid(upstreams: Upstreams, names: list[str]) -> Iterator[Squid]:
    need("squid", "openssl")
    need_root()
    with tempfile.TemporaryDirectory(prefix="squid-") as folder:
        squid = Squid(Path(folder), names, "me", PASSWORD, upstreams.authority)
        try:
            squid.start()
            yield squid
        finally:
            squid.stop()


@pytest.fixture
def mark(squid: Squid) -> int:
    """How much squid had written down before."""
    if not squid.daemon.running():
        squid.daemon.start()
    squid.await_rest()
    return len(squid.passed())


@pytest.fixture
def leading(names: list[str], trap: Trap) -> list[str]:
    """Lines for --resolve that lead to the trap."""
    return [f"{':'.join(name.split(':')[:2])}:127.0.0.1:{trap.port}" for name in names]


@pytest.fixture
def image(images: ImageFactory, upstreams: Upstreams) -> Image:
    image = images.image("squid")
    for host in ("hub.example.test", "plain.example.test:5000", "registry.example.test"):
        upstreams.push(image, f"{host}/squid/app:1")
    return image


def push(client: Client, base: str) -> None:
    begun = client.request("POST", f"{base}/v2/squid/push/blobs/uploads/")
    assert begun.status == 202
    digest = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
    place = urljoin(base, str(begun.headers["Location"]))
    octets = {"Content-Type": "application/octet-stream"}
    assert client.request("PUT", f"{place}&digest={digest}", octets, BLOB).status == 201


def use(client: Client, image: Image, web: Client) -> None:
    """Pull twice, list and push, from registries with and without TLS; tunnel to what is none."""
    for base in (HUB, PLAIN, TOKENS):
        headers = {}
        if base == TOKENS:
            login = client.get(f"{base}/v2/").headers["WWW-Authenticate"]
            scope = ',scope="repository:squid/app:pull"'
            headers["Authorization"] = client.answer_to(login + scope, "alice", "wonderland")
        for _ in range(2):
            answer = client.manifest(f"{base}/v2/squid/app/manifests/1", headers)
            assert (answer.status, answer.body) == (200, image.root.body)
            for blob in image.blobs:
                got = client.get(f"{base}/v2/squid/app/blobs/{blob.digest}", headers)
                assert (got.status, got.body) == (200, blob.read())
        assert client.get(f"{base}/v2/squid/app/tags/list", headers).json()["tags"] == ["1"]
    for base in (HUB, PLAIN):
        push(client, base)
    assert web.get("https://plainweb.example.test/").body == WEB_BODY
    with client.connect(MAIL) as raw:
        assert raw.recv(100) == GREETING
        raw.sendall(b"EHLO me")
        assert raw.recv(100) == b"echo EHLO me"


USED = {
    "hub.example.test:443",
    "cdn.example.test:443",
    "registry.example.test:443",
    "auth.example.test:443",
    "plainweb.example.test:443",
    f"{MAIL}:443",
}


@pytest.mark.parametrize(
    ("scheme", "host"), [("http", "127.0.0.1"), ("http", "[::1]"), ("https", "127.0.0.1")]
)
def test_everything_goes_through_squid(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    squid: Squid,
    trap: Trap,
    leading: list[str],
    image: Image,
    mark: int,
    scheme: str,
    host: str,
) -> None:
    """Fetches, tokens, content networks, what passes through and what is tunnelled; warm too."""
    entrepot = start_entrepot(upstream_proxy=squid.url(scheme, host), resolve=leading)
    use(entrepot.client(), image, entrepot.stranger(upstreams.web_authority.pem))
    assert entrepot.counter("blob_stored") >= len(image.blobs)
    assert entrepot.terminate() == 0
    eventually(lambda: {one.url for one in squid.passed()[mark:]} >= USED, what="all logged")
    seen = squid.passed()[mark:]
    assert {one.user for one in seen} == {"me"}
    assert {one.method for one in seen if one.url.startswith(PLAIN)} == {
        "GET", "HEAD", "POST", "PUT",
    }  # fmt: skip
    assert {one.url for one in seen if one.method == "CONNECT"} == USED
    assert {one.status for one in seen} <= {200, 201, 202, 206}
    assert trap.caught() == 0


def test_nothing_leaks_past_a_squid_that_is_down(
    start_entrepot: "StartEntrepot",
    squid: Squid,
    trap: Trap,
    leading: list[str],
    image: Image,  # noqa: ARG001 it is published
    mark: int,
) -> None:
    """What is held is served as in any outage; all else is an error that says where it is."""
    entrepot = start_entrepot(upstream_proxy=squid.url(), resolve=leading)
    client = entrepot.client()
    tag = f"{HUB}/v2/squid/app/manifests/1"
    for base in (HUB, PLAIN):
        assert client.manifest(f"{base}/v2/squid/app/manifests/1").status == 200
    eventually(lambda: len(squid.passed()) > mark, what="a request logged")
    squid.daemon.stop()
    for base in (HUB, PLAIN):
        answer = client.manifest(f"{base}/v2/squid/app/manifests/1")
        assert (answer.status, answer.cache_status) == (200, "entrepot; hit; detail=stale")
        listed = client.get(f"{base}/v2/squid/app/blobs/uploads/x")
        assert listed.status == 502
        assert f"the upstream proxy http://127.0.0.1:{squid.port}: ".encode() in listed.body
    other = client.manifest(f"{HUB}/v2/squid/app/manifests/2")
    assert other.status in (502, 503)  # 503 after three connections that could not be made
    assert "connection refused" in str(other.json()["errors"])
    with pytest.raises(ConnectRefusedError, match=f"the upstream proxy .*{squid.port}") as refused:
        client.connect(MAIL)
    assert refused.value.status == 502
    assert trap.caught() == 0
    assert entrepot.log.count("upstream_proxy_failed") == 1  # they all have one reason
    squid.daemon.start()
    assert client.manifest(tag).status == 200


@pytest.mark.parametrize(
    ("wrong", "host", "why"),
    [
        (True, "hub.example.test", "it wants a user and password, or others (407)"),
        (False, FORBIDDEN, "it answered CONNECT with 403"),
        (False, NOWHERE, "it answered CONNECT with 503"),
    ],
)
def test_a_refusal_of_squid_is_said_once_and_clearly(
    start_entrepot: "StartEntrepot",
    squid: Squid,
    trap: Trap,
    leading: list[str],
    mark: int,
    wrong: bool,  # noqa: FBT001
    host: str,
    why: str,
) -> None:
    """Of a fetch, of what passes through and of a tunnel; never with the password."""
    url = squid.url().replace("pass@", "pass-wrong@") if wrong else squid.url()
    entrepot = start_entrepot(upstream_proxy=url, resolve=leading, registry=host)
    client = entrepot.client()
    fetched = client.manifest(f"https://{host}/v2/a/manifests/1")
    assert fetched.status == 502
    assert f"the upstream proxy: {why}" in json.dumps(fetched.json())
    passed = client.get(f"https://{host}/v2/a/blobs/uploads/x")
    assert passed.status == 502
    assert f"the upstream proxy http://127.0.0.1:{squid.port}: {why}".encode() in passed.body
    assert entrepot.log.count("upstream_failed") == 2
    assert entrepot.log.count("upstream_proxy_failed") == 1
    if wrong:
        with pytest.raises(ConnectRefusedError, match="407"):
            client.connect(MAIL)
        listed = client.get(f"{PLAIN}/v2/a/blobs/uploads/x")
        assert (listed.status, listed.headers["Proxy-Authenticate"]) == (502, None)
        assert why in str(listed.json()["errors"])
    eventually(lambda: len(squid.passed()) > mark, what="a refusal logged")
    assert "pass" not in entrepot.log.replace("passed", "").replace("password", "")
    assert trap.caught() == 0


def test_a_proxy_over_tls_must_be_trusted(
    start_entrepot: "StartEntrepot", squid: Squid, trap: Trap, leading: list[str], mark: int
) -> None:
    """Neither the password nor anything else is sent to one that anybody could be."""
    entrepot = start_entrepot(
        upstream_proxy=squid.url("https"), resolve=leading, upstream_ca=[], registry=HUB[8:]
    )
    client = entrepot.client()
    fetched = client.manifest(f"{HUB}/v2/a/manifests/1")
    assert (fetched.status, b"the upstream proxy: TLS: " in fetched.body) == (502, True)
    passed = client.get(f"{HUB}/v2/a/blobs/uploads/x")
    assert passed.status == 502
    assert f"the upstream proxy https://127.0.0.1:{squid.tls_port}: ".encode() in passed.body
    assert b"certificate verify failed" in passed.body.lower()
    with pytest.raises(ConnectRefusedError, match="the upstream proxy https"):
        client.connect(MAIL)
    assert squid.passed()[mark:] == []
    assert trap.caught() == 0


def test_what_no_proxy_names_is_reached_directly(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    squid: Squid,
    names: list[str],
    image: Image,
    mark: int,
) -> None:
    """All three kinds of traffic, by the option or the environment; --resolve counts there."""
    entrepot = start_entrepot(
        upstream_proxy=squid.url(),
        resolve=names,
        no_proxy=["hub.example.test", ".plain.example.test", "plain.example.test:5000", MAIL],
        env={"NO_PROXY": "registry.example.test"},
    )
    use(entrepot.client(), image, entrepot.stranger(upstreams.web_authority.pem))
    assert entrepot.terminate() == 0
    directly = {"hub.example.test:443", f"{MAIL}:443"}
    wanted = USED - directly
    eventually(lambda: {one.url for one in squid.passed()[mark:]} >= wanted, what="all logged")
    assert {one.url for one in squid.passed()[mark:]} == wanted


def test_the_environment_names_squid_and_what_goes_past_it(
    start_entrepot: "StartEntrepot", squid: Squid, names: list[str], image: Image, mark: int
) -> None:
    """HTTPS_PROXY and NO_PROXY of the proxy's own process count, as they do for docker."""
    env = {"HTTPS_PROXY": squid.url(), "NO_PROXY": "hub.example.test"}
    entrepot = start_entrepot(resolve=names, env=env)
    client = entrepot.client()
    assert client.manifest(f"{HUB}/v2/squid/app/manifests/1").body == image.root.body
    with client.connect(MAIL) as raw:
        assert raw.recv(100) == GREETING
    eventually(lambda: len(squid.passed()) > mark, what="the tunnel logged")
    assert {one.url for one in squid.passed()[mark:]} == {f"{MAIL}:443"}

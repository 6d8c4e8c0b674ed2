"""Who may use the proxy at all: by address, and by a password of its own."""

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Client, ConnectRefusedError, basic
from rig.images import ImageFactory
from rig.proxy import Entrepot
from rig.registry import HTPASSWD
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HUB, PLAIN = "https://hub.example.test/v2/", "http://plain.example.test:5000/v2/"
WEB = ("plainweb.example.test", 443)
ALICE = basic("alice", "wonderland")


def refusal(client: Client, host: str = "hub.example.test", port: int = 443) -> int:
    """The status of a refused CONNECT."""
    with pytest.raises(ConnectRefusedError) as raised:
        client.connect(host, port)
    return raised.value.status


def test_only_allowed_clients_are_served(
    start_entrepot: "StartEntrepot", upstreams: Upstreams
) -> None:
    """Anybody else gets 403 for CONNECT, plain requests and the proxy's own pages."""
    entrepot = start_entrepot(allow_client=["127.0.0.0/30", "10.0.0.0/8"])
    allowed, other = entrepot.client(), entrepot.client(source="127.0.0.9")
    mark = upstreams.mark()
    for _ in range(2):
        assert refusal(other) == refusal(other, *WEB) == 403
        answer = other.get(PLAIN)
        assert answer.status == 403
        assert b"the proxy does not serve 127.0.0.9" in answer.body
        for page in ("/ca.pem", "/healthz", "/"):
            assert other.get(f"http://127.0.0.1:{entrepot.port}{page}").status == 403
    assert upstreams.requests(mark) == ()
    assert entrepot.log.count("client_refused client=127.0.0.9 ") == 1
    assert allowed.get(HUB).status == allowed.get(PLAIN).status == 200
    allowed.connect(*WEB).close()


def htpasswd(folder: Path) -> Path:
    """Alice and bob by bcrypt, carol by SHA-1."""
    sha = base64.b64encode(hashlib.sha1(b"rabbit").digest()).decode()  # noqa: S324 htpasswd's
    file = folder / "htpasswd"
    file.write_text(f"{HTPASSWD}carol:{{SHA}}{sha}\n")
    return file


@pytest.fixture
def guarded(start_entrepot: "StartEntrepot", folder: Path) -> Entrepot:
    """A proxy with passwords."""
    return start_entrepot(proxyauth=f"@{htpasswd(folder)}")


def test_a_password_is_asked_for(guarded: Entrepot, upstreams: Upstreams) -> None:
    """Without a right one: 407 for CONNECT and plain requests, and no word to any upstream."""
    mark = upstreams.mark()
    wrong = (None, basic("alice", "x"), basic("eve", "wonderland"), "Basic", "Bearer x", "Basic ?")
    for shown in wrong:
        client = guarded.client(proxy_authorization=shown)
        assert refusal(client) == refusal(client, *WEB) == 407
        fields = {"Proxy-Authorization": shown} if shown else {}
        answer = client.get(PLAIN, fields)
        assert answer.status == 407
        assert answer.headers["Proxy-Authenticate"].startswith("Basic ")
        for body in (b"x" * 1000, b"x" * 200_000):
            try:
                posted = client.request("POST", PLAIN, fields, body)
            except OSError:  # a body that would have to be read first ends the connection
                continue
            assert posted.status == 407
    assert upstreams.requests(mark) == ()
    assert "Traceback" not in guarded.log


def test_who_shows_it_is_served(
    guarded: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Bcrypt or SHA-1; the registry's own login goes with it, and nobody upstream sees it."""
    image = images.image("guarded")
    upstreams.push(image, "basic.example.test/private/guarded:1")
    for shown in (ALICE, basic("carol", "rabbit")):
        client, mark = guarded.client(proxy_authorization=shown), upstreams.mark()
        url = "https://basic.example.test/v2/private/guarded/manifests/1"
        assert client.manifest(url).status == 401
        assert client.manifest(url, {"Authorization": ALICE}).body == image.root.body
        assert {one.authorization for one in upstreams.requests(mark)} == {"", "basic"}
        assert client.get(PLAIN, {"Proxy-Authorization": shown}).status == 200
        client.connect(*WEB).close()
    assert "wonderland" not in guarded.log
    assert ALICE.removeprefix("Basic ") not in guarded.log


def test_the_proxys_own_pages_need_no_password(guarded: Entrepot) -> None:
    """A client fetches the certificate from there, and a monitor has no login."""
    for page in ("/ca.pem", "/healthz"):
        assert guarded.local(page).status == 200


def test_a_plain_upstream_never_sees_the_password(
    start_entrepot: "StartEntrepot", folder: Path, upstreams: Upstreams
) -> None:
    """Proxy-Authorization ends at the proxy, whether or not it asked for one."""
    for proxy in (start_entrepot(proxyauth=f"@{htpasswd(folder)}"), start_entrepot()):
        mark = upstreams.mark()
        client = proxy.client()
        fields = {"Proxy-Authorization": ALICE}
        own = f"{PLAIN}admission/never-pushed"  # tests share the registry behind it
        assert client.get(f"{own}/tags/list", fields).status == 404
        assert client.request("POST", f"{own}/blobs/uploads/", fields).status in (202, 404)
        assert not any(one.has_authorization for one in upstreams.requests(mark))


@pytest.mark.parametrize("file", ["missing", "broken"])
def test_a_bad_htpasswd_is_one_line_and_no_proxy(
    start_entrepot: "StartEntrepot", folder: Path, file: str
) -> None:
    """Never a proxy without a password."""
    (folder / "broken").write_text("no colon here\n")
    with pytest.raises(Exception, match="Could not open htpasswd file"):
        start_entrepot(proxyauth=f"@{folder / file}")

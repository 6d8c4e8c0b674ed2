"""Pings and token requests at the socket: one connection upstream, whoever comes by how many."""

import json
from urllib.parse import urlencode

from rig.client import Client, basic
from rig.images import ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.record import Requests
from rig.upstreams import Upstreams

PING = "https://registry.example.test/v2/"
TOKEN = "https://auth.example.test/token"  # noqa: S105 an address
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ALICE = {"Authorization": basic("alice", "wonderland")}
HTPASSWD = "https://basic.example.test/v2/"


def connections(requests: Requests) -> int:
    """How many connections these requests came by."""
    return len({seen.connection for seen in requests})


def form(**fields: str) -> bytes:
    """What containerd sends for a token."""
    known = {"service": "registry.example.test", "scope": "repository:private/form:pull"}
    login = {"grant_type": "password", "username": "alice", "password": "wonderland"}
    return urlencode({**login, **known, **fields}).encode()


def test_a_challenge_is_handed_out_from_memory(client: Client, upstreams: Upstreams) -> None:
    """Anybody's second ping costs upstream nothing, and says what upstream says."""
    client.certificate("registry.example.test")  # it was found to be a registry
    said, mark = upstreams.client().get(PING), upstreams.mark()
    for how in ("entrepot; fwd=bypass; detail=ping", "entrepot; hit; detail=ping"):
        got = client.get(PING)
        assert (got.status, got.body, got.cache_status) == (401, said.body, how)
        for name in ("WWW-Authenticate", "Docker-Distribution-Api-Version", "Content-Type"):
            assert got.headers.get_all(name) == said.headers.get_all(name)
    assert len(upstreams.requests(mark).of(host="registry.example.test")) == 1


def test_clients_connections_share_one_to_upstream(client: Client, upstreams: Upstreams) -> None:
    """Docker opens a connection for each request; upstream sees one of ours."""
    client.get(PING)
    mark = upstreams.mark()
    for _ in range(4):
        assert client.get(HTPASSWD, ALICE).status == 200
        assert client.get(HTPASSWD, {"Authorization": basic("alice", "wrong")}).status == 401
        assert client.get(f"{TOKEN}?service=registry.example.test", ALICE).status == 200
    seen = upstreams.requests(mark)
    assert connections(seen.of(host="basic.example.test")) == 1
    assert connections(seen.of(host="auth.example.test")) == 1
    assert [one.status for one in seen.of(kind="ping", authorization="basic")] == [200, 401] * 4


def test_a_form_gets_its_token(client: Client, upstreams: Upstreams, images: ImageFactory) -> None:
    """A form of whatever size reaches the token server whole; a large one passes as it is."""
    upstreams.push(images.image("form"), "registry.example.test/private/form:1")
    url = "https://registry.example.test/v2/private/form/manifests/1"
    client.get(PING)
    ours = "entrepot; fwd=bypass; detail=token"
    for size, how in ((0, ours), (60_000, ours), (70_000, ""), (1_000_000, "")):
        answer = client.request("POST", TOKEN, FORM, form(pad="x" * size))
        assert answer.status == 200
        assert answer.cache_status == how
        bearer = {"Authorization": f"Bearer {answer.json()['token']}"}
        assert client.manifest(url, bearer).status == 200
    answer = client.request("POST", TOKEN, FORM, form(password="wrong"))  # noqa: S106
    assert (answer.status, b"rig says no" in answer.body) == (401, True)


def test_connections_that_ended_meanwhile_are_replaced(
    entrepot: Entrepot, client: Client, upstreams: Upstreams
) -> None:
    """An upstream that restarted is asked again; while it is down, that is said clearly."""
    assert client.get(HTPASSWD, ALICE).status == 200
    with upstreams.down():
        answer = client.get(HTPASSWD, ALICE)
        assert answer.status == 502
        assert json.loads(answer.body)["errors"][0]["code"] == "UNAVAILABLE"
        eventually(lambda: "upstream_failed" in entrepot.log, what="a line")
    assert client.get(HTPASSWD, ALICE).status == 200

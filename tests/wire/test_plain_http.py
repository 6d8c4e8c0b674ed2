"""Plain HTTP to whatever is no registry goes through the proxy as through any other (promise 4)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from rig.client import Client
from rig.faults import Content, Exchange, FaultServer
from rig.images import MIB
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

WEB = "http://web.example.test"
PAGE = b"<p>a page, not a blob</p>"
BLOB_LIKE = f"/v2/app/blobs/sha256:{'0' * 64}"


@pytest.fixture
def web() -> Iterator[FaultServer]:
    """A plain web server that has something, but no registry, at `/v2/`."""
    server = FaultServer(None, "web.example.test")
    server.routes["/v2/"] = Content(b"{}", "application/json")
    yield server
    server.stop()


@pytest.fixture
def entrepot(start_entrepot: "StartEntrepot", upstreams: Upstreams, web: FaultServer) -> Entrepot:
    """A proxy that finds the web server under its name."""
    return start_entrepot(resolve=[*upstreams.resolve, f"web.example.test:80:127.0.0.1:{web.port}"])


@pytest.mark.parametrize("path", ["/page", BLOB_LIKE])
def test_an_answer_is_passed_on_as_it_came(client: Client, web: FaultServer, path: str) -> None:
    """Promise 4: each request is asked of the server itself, and nothing is added or checked."""
    web.routes[path] = Content(PAGE, "text/html", headers={"Set-Cookie": "a=b", "ETag": '"own"'})
    for _ in range(2):
        answer = client.get(WEB + path)
        assert (answer.status, answer.body) == (200, PAGE)
        assert (answer.headers["Set-Cookie"], answer.headers["ETag"]) == ("a=b", '"own"')
        assert "Cache-Status" not in answer.headers
    assert len(web.of(path=path, method="GET")) == 2


def test_a_request_is_passed_on_as_it_came(client: Client, web: FaultServer) -> None:
    """Promise 4: fields that a registry's requests lose reach an ordinary server."""
    web.routes["/page"] = Content(PAGE)
    sent = {"Range": "bytes=3-", "Accept-Encoding": "gzip", "If-None-Match": '"x"', "Cookie": "c=d"}
    assert client.get(f"{WEB}/page?q=1", sent).body == PAGE[3:]
    seen = web.await_request(path="/page")
    assert {name: seen.headers[name.lower()] for name in sent} == sent
    assert seen.query == "q=1"


def test_a_body_is_passed_on_both_ways(client: Client, web: FaultServer) -> None:
    """Promise 4: what is posted comes back byte by byte, though it is larger than any buffer."""
    body = bytes(range(256)) * (3 * MIB // 256)

    def echo(exchange: Exchange) -> None:
        exchange.send(200, exchange.read_body())

    web.routes["/echo"] = echo
    assert client.request("POST", f"{WEB}/echo", body=body).body == body

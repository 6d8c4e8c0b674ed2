"""The HTTP client towards registries, against real servers on loopback."""

import threading

import pytest

from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.protocol.identifiers import Origin
from rig.certs import Authority
from rig.faults import Content, FaultServer, status
from rig.requests import NAME, failure, get, target


def test_a_request_goes_out_as_it_was_given(upstream: HttpClient, plain: FaultServer) -> None:
    """Host, repeated fields, raw path and query; nothing is added that a registry could see."""
    plain.routes = {"/v2/a%2Fb": status(200)}
    get(upstream, "/v2/a%2Fb?x=%41&y", ("Accept", "a/b"), ("Accept-Encoding", "identity"))
    (seen,) = plain.requests
    assert (seen.path, seen.query, seen.host) == ("/v2/a%2Fb", "x=%41&y", NAME)
    assert seen.headers["accept-encoding"] == "identity"


def test_what_is_asked_of_our_own_says_who_asks(upstream: HttpClient, plain: FaultServer) -> None:
    """A client's name goes along only where it is the client that asks."""
    plain.routes = {"/a": status(200)}
    get(upstream, "/a")
    get(upstream, "/a", ("User-Agent", "docker"))
    names = [seen.headers["user-agent"] for seen in plain.requests]
    assert names[0].startswith("entrepot")
    assert names[1:] == ["docker"]


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: 1", "/\N{SNOWMAN}"])
def test_a_path_that_cannot_be_sent_is_an_error(
    upstream: HttpClient, plain: FaultServer, path: str
) -> None:
    """No request is smuggled by a Location of control characters."""
    try:
        with upstream.send("GET", target(path), (), SendOptions(Follow.NO)):
            pass
    except UpstreamError as error:
        assert path not in str(error)  # noqa: PT017 both ends are well
    assert all("x" not in seen.headers for seen in plain.requests)


def test_a_server_that_never_answers_is_given_up(upstream: HttpClient, plain: FaultServer) -> None:
    """A head that does not come within the time for a read is an error."""
    wait = threading.Event()
    plain.routes = {"/a": Content(b"late", wait=wait)}
    assert failure(upstream, target("/a")) == f"http://{NAME}: it stopped answering"
    wait.set()


def test_the_caller_may_be_less_patient(authority: Authority, plain: FaultServer) -> None:
    """``seconds`` bounds a wait where the usual ones are too long."""
    upstream = HttpClient(Roots(authority.pem, None), read_seconds=60)
    wait = threading.Event()
    plain.routes = {"/a": Content(b"late", wait=wait)}
    where = Target(Origin("http", "127.0.0.1", plain.port), "/a")
    with pytest.raises(UpstreamError, match="stopped answering"):
        upstream.send("GET", where, (), SendOptions(Follow.NO, seconds=0.1))
    wait.set()
    upstream.close()

"""Redirects: which are followed, and what goes along."""

import threading

import pytest

from entrepot.config.addresses import Resolve
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.redirects import MAX_REDIRECTS, REDIRECTS
from entrepot.http_client.request import Follow, SendOptions
from rig.certs import Authority
from rig.faults import Exchange, FaultServer, redirect, status
from rig.requests import (
    NAME,
    OTHER_NAME,
    SECRET,
    SENT,
    get,
    target,
)


@pytest.mark.parametrize("code", sorted(REDIRECTS))
def test_every_redirect_is_followed(upstream: HttpClient, plain: FaultServer, code: int) -> None:
    """301, 302, 303, 307 and 308 all lead on, by the same method."""
    plain.routes = {"/a": redirect("/b", code), "/b": status(200, b"here")}
    assert get(upstream, "/a") == (200, b"here")
    assert [seen.method for seen in plain.requests] == ["GET", "GET"]


@pytest.mark.parametrize("code", [300, 304, 305, 306])
def test_other_codes_are_no_redirects(upstream: HttpClient, plain: FaultServer, code: int) -> None:
    """They are upstream's answer, with or without a Location."""
    plain.routes = {"/a": redirect("/b", code)}
    assert get(upstream, "/a")[0] == code


@pytest.mark.parametrize(
    ("location", "path", "query"),
    [
        ("/x/y?z=1", "/x/y", "z=1"),
        ("y", "/v2/y", ""),
        ("../y", "/y", ""),
        ("?z=1", "/v2/a", "z=1"),
        (f"//{OTHER_NAME}/y", "/y", ""),
        (f"http://{OTHER_NAME}/y?z=1", "/y", "z=1"),
        (f"http://{OTHER_NAME}?z=1", "/", "z=1"),
        ("/y?sig=a%2Fb%3D", "/y", "sig=a%2Fb%3D"),
    ],
)
def test_locations_are_followed_as_they_are_meant(
    upstream: HttpClient, plain: FaultServer, location: str, path: str, query: str
) -> None:
    """Relative ones too (RFC 9110 section 10.2.2), their escapes untouched."""
    plain.routes = {"/v2/a": redirect(location)}
    if path != "/v2/a":
        plain.routes[path] = status(200)
    get_or_give_up(upstream, "/v2/a")
    assert (plain.requests[1].path, plain.requests[1].query) == (path, query)


def get_or_give_up(upstream: HttpClient, path: str) -> None:
    """Follow redirects, also ones that never end."""
    try:
        get(upstream, path)
    except UpstreamError as error:
        assert "redirects" in str(error)  # noqa: PT017 both ends are well


@pytest.mark.parametrize("location", ["http://[", "ftp://a/b", "http://a:99999/"])
def test_an_unusable_location_is_upstreams_answer(
    upstream: HttpClient, plain: FaultServer, location: str
) -> None:
    """A redirect that leads nowhere is returned as it came."""
    plain.routes = {"/a": redirect(location)}
    with upstream.send("GET", target("/a"), (), SendOptions(Follow.ANY)) as reply:
        assert (reply.status, reply.value("Location")) == (307, location)


def test_a_redirect_is_not_followed_unasked(upstream: HttpClient, plain: FaultServer) -> None:
    """Where only the decision counts, the redirect is the answer."""
    plain.routes = {"/a": redirect("/b"), "/b": status(200)}
    with upstream.send("GET", target("/a"), (), SendOptions(Follow.NO)) as reply:
        assert (reply.status, reply.value("Location")) == (307, "/b")


def test_five_redirects_are_followed(upstream: HttpClient, plain: FaultServer) -> None:
    """The fifth still leads somewhere."""
    plain.routes = {f"/{n}": redirect(f"/{n + 1}") for n in range(MAX_REDIRECTS)}
    plain.routes["/5"] = status(200, b"here")
    assert get(upstream, "/0") == (200, b"here")


def test_a_sixth_redirect_is_an_error(upstream: HttpClient, plain: FaultServer) -> None:
    """A loop ends, and the error names the host only."""
    plain.routes = {"/a": redirect(f"/a?{SECRET}")}
    with pytest.raises(UpstreamError, match="more than 5 redirects") as caught:
        get(upstream, "/a")
    assert SECRET not in str(caught.value)
    assert len(plain.requests) == 1 + MAX_REDIRECTS


def test_credentials_stay_with_their_host(upstream: HttpClient, plain: FaultServer) -> None:
    """Another host gets what it needs for the bytes, and nothing that says who asks."""
    plain.routes = {"/a": redirect(f"http://{OTHER_NAME}/b"), "/b": status(200)}
    get(upstream, "/a", *SENT)
    first, second = plain.requests
    assert (first.host, second.host) == (NAME, OTHER_NAME)
    assert {"authorization", "cookie", "x-unknown"} <= set(first.headers)
    assert set(second.headers) == {"host", "accept", "user-agent", "range", "accept-encoding"}


def test_the_same_host_gets_all_again(upstream: HttpClient, plain: FaultServer) -> None:
    """A redirect within the origin keeps every field."""
    plain.routes = {"/a": redirect("/b"), "/b": status(200)}
    get(upstream, "/a", *SENT)
    first, second = plain.requests
    assert first.headers == second.headers


def test_credentials_do_not_come_back(upstream: HttpClient, plain: FaultServer) -> None:
    """Who was led away and back again does not get what was dropped on the way."""
    plain.routes = {
        "/a": redirect(f"http://{OTHER_NAME}/b"),
        "/b": redirect(f"http://{NAME}/c"),
        "/c": status(200),
    }
    get(upstream, "/a", *SENT)
    assert [seen.authorization for seen in plain.requests] == ["Bearer token", None, None]


def test_another_scheme_is_another_host(
    upstream: HttpClient, plain: FaultServer, secure: FaultServer
) -> None:
    """From http to https of one name credentials are dropped as well: it is another origin."""
    plain.routes = {"/a": redirect(f"https://{NAME}/b")}
    secure.routes = {"/b": status(200, b"secure")}
    assert get(upstream, "/a", *SENT) == (200, b"secure")
    assert secure.requests[0].authorization is None


@pytest.mark.parametrize(("downgrade", "code"), [(False, 307), (True, 200)])
def test_a_step_down_is_taken_only_where_allowed(
    upstream: HttpClient,
    plain: FaultServer,
    secure: FaultServer,
    downgrade: bool,  # noqa: FBT001 a column of the table
    code: int,
) -> None:
    """From https to plain http only content that its digest names is followed."""
    secure.routes = {"/a": redirect(f"http://{NAME}/b")}
    plain.routes = {"/b": status(200)}
    origin = target("/a", "https")
    with upstream.send("GET", origin, SENT, SendOptions(Follow.ANY, downgrade=downgrade)) as reply:
        assert reply.status == code
    assert [seen.authorization for seen in plain.requests] == [None] * (code == 200)


def test_a_reply_knows_where_it_came_from(upstream: HttpClient, plain: FaultServer) -> None:
    """Its target is the last one."""
    plain.routes = {"/a": redirect(f"http://{OTHER_NAME}/b"), "/b": status(200)}
    with upstream.send("GET", target("/a"), (), SendOptions(Follow.ANY)) as reply:
        assert reply.target == target("/b", host=OTHER_NAME)


def test_all_redirects_have_one_deadline(authority: Authority, plain: FaultServer) -> None:
    """Hosts that lead from one to the next and answer just in time do not add up."""
    pause = threading.Event()

    def late(exchange: Exchange) -> None:
        pause.wait(0.5)
        exchange.send(307, headers={"Location": f"{exchange.request.path}x"})

    plain.routes = {f"/a{'x' * count}": late for count in range(MAX_REDIRECTS + 1)}
    resolve = (Resolve(NAME, 80, "127.0.0.1", plain.port),)
    slow = HttpClient(Roots(authority.pem, None), resolve=resolve, read_seconds=0.6)
    with pytest.raises(UpstreamError, match="it stopped answering"):
        slow.send("GET", target("/a"), (), SendOptions(Follow.ANY))
    slow.close()

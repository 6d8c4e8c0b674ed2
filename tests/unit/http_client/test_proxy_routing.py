"""Through a corporate proxy, or past it."""

import socket

import pytest

from entrepot.config.addresses import Resolve, UpstreamProxy
from entrepot.config.no_proxy import NoProxyEntry
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from rig.certs import Authority
from rig.corporate import CorporateProxy
from rig.faults import FaultServer, status
from rig.requests import NAME, OTHER_NAME, SECRET, get, target


def test_a_plain_request_through_a_proxy_names_its_origin(plain: FaultServer) -> None:
    """Absolute-form and the proxy's own credentials (RFC 9112 section 3.2.2)."""
    plain.routes = {f"http://{NAME}/v2/": status(200, b"proxied")}
    proxy = UpstreamProxy.parse(f"http://user:pass@127.0.0.1:{plain.port}")
    upstream = HttpClient(Roots(None, None), proxy=proxy)
    assert get(upstream, "/v2/") == (200, b"proxied")
    assert plain.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    upstream.close()


def refused_by_proxy(url: str, where: Target) -> UpstreamError:
    """How a request ends that a proxy does not let through."""
    upstream = HttpClient(Roots(None, None), proxy=UpstreamProxy.parse(url))
    try:
        with pytest.raises(UpstreamError) as caught:
            upstream.send("GET", where, (), SendOptions(Follow.ANY))
    finally:
        upstream.close()
    return caught.value


@pytest.mark.parametrize(
    ("scheme", "code", "why", "passing"),
    [
        # Without a tunnel all but 407 could as well be the registry's own answer.
        ("http", 407, "it wants a user and password, or others (407)", False),
        ("https", 407, "it wants a user and password, or others (407)", False),
        ("https", 403, "it answered CONNECT with 403", False),
        ("https", 502, "it answered CONNECT with 502", True),
        ("https", 503, "it answered CONNECT with 503", True),
    ],
)
def test_a_proxy_that_refuses_makes_a_registry_unreachable(
    plain: FaultServer,
    scheme: str,
    code: int,
    why: str,
    passing: bool,  # noqa: FBT001
) -> None:
    """The error says so, and counts as a connection that could not be made."""
    plain.routes = {f"{NAME}:443": status(code), f"http://{NAME}/v2/": status(code)}
    url = f"http://me:{SECRET}@127.0.0.1:{plain.port}"
    error = refused_by_proxy(url, target("/v2/", scheme))
    assert str(error) == f"{scheme}://{NAME}: the upstream proxy: {why}"
    assert (error.passing, error.connected, error.slow) == (passing, False, False)


def test_a_proxy_that_hangs_makes_a_registry_slow() -> None:
    """It takes the deadline of a connection to know, and no connection was made."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = UpstreamProxy.parse(f"http://127.0.0.1:{silent.getsockname()[1]}")
        upstream = HttpClient(Roots(None, None), proxy=proxy, connect_seconds=0.1)
        with pytest.raises(UpstreamError, match="the upstream proxy: no answer in time") as caught:
            upstream.send("GET", target("/v2/", "https"), (), SendOptions(Follow.ANY))
        upstream.close()
    assert (caught.value.connected, caught.value.slow) == (False, True)


def test_what_is_reached_past_a_proxy_is_found_by_resolve(
    authority: Authority, secure: FaultServer
) -> None:
    """And what goes by it is not: the proxy finds that itself."""
    secure.routes = {"/a": status(200, b"here")}
    proxy = CorporateProxy(secure.resolve)
    upstream = HttpClient(
        Roots(authority.pem, None),
        resolve=(
            Resolve(NAME, 443, "127.0.0.1", secure.port),
            Resolve(OTHER_NAME, 443, "127.0.0.1", 9),
        ),
        proxy=UpstreamProxy.parse(proxy.url),
        no_proxy=(NoProxyEntry.parse(NAME),),
    )
    try:
        for host in (NAME, OTHER_NAME):
            with upstream.send(
                "GET", target("/a", "https", host), (), SendOptions(Follow.ANY)
            ) as reply:
                assert reply.read_all(100) == b"here"
    finally:
        upstream.close()
        proxy.stop()
    assert proxy.targets == [f"{OTHER_NAME}:443"]

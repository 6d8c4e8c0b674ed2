"""What TLS servers show of themselves on a new connection."""

import ssl

import pytest

from entrepot.config.addresses import Resolve, UpstreamProxy
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.request import Follow, SendOptions
from entrepot.http_client.tls_inspection import Greeting
from rig.certs import Authority
from rig.corporate import CorporateProxy
from rig.faults import Exchange, FaultServer
from rig.requests import (
    NAME,
    OTHER_NAME,
    target,
)


@pytest.mark.parametrize("by_proxy", [False, True])
def test_a_greeting_leaves_its_connection_for_what_comes_next(
    authority: Authority,
    secure: FaultServer,
    by_proxy: bool,  # noqa: FBT001 the parameter
) -> None:
    """Whether there is a proxy on the way; where nothing is asked, nothing is kept."""
    ports = []

    def answer(exchange: Exchange) -> None:
        ports.append(exchange._handler.client_address[1])  # noqa: SLF001 the rig hides it
        exchange.send(404)

    secure.instead, proxy = answer, CorporateProxy(secure.resolve)
    resolve = tuple(Resolve.parse(entry) for entry in secure.resolve)
    way = UpstreamProxy.parse(proxy.url) if by_proxy else None
    upstream = HttpClient(Roots(authority.pem, None), resolve=resolve, proxy=way)
    where = target("/a", "https")
    try:
        assert upstream.greet(where.origin, 5, ask=False) == Greeting()
        assert upstream.greet(where.origin, 5, ask=True) == Greeting(status=404)
        for _ in range(2):
            upstream.send("GET", where, (), SendOptions(Follow.NO)).drain()
    finally:
        upstream.close()
        proxy.stop()
    assert [seen.method for seen in secure.requests] == ["HEAD", "GET", "GET"]
    assert len(set(ports)) == 1
    assert len(proxy.targets) == 2 * by_proxy


@pytest.mark.parametrize("insist", [False, True])
def test_a_server_that_asks_for_a_certificate_is_known_by_its_handshake(
    upstream: HttpClient,
    authority: Authority,
    secure: FaultServer,
    insist: bool,  # noqa: FBT001 the parameter
) -> None:
    """In TLS 1.2 and 1.3, whether it can do without or not; not every server does."""
    leaf, origin = authority.issue(NAME, OTHER_NAME), target("/", "https").origin
    assert not upstream.greet(origin, 5, ask=True).wants_certificate
    for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = leaf.asking_context(authority.pem, insist=insist)
        context.maximum_version = most
        secure.show(context)
        for ask in (False, True):
            assert upstream.greet(origin, 5, ask=ask).wants_certificate
    secure.show(leaf.server_context())

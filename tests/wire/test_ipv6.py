"""The CONNECT road over IPv6: listeners, clients, and upstreams by name and by literal."""

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import pytest

from rig.client import Client, DirectClient
from rig.corporate import CorporateProxy
from rig.faults import FaultServer
from rig.images import ImageFactory
from rig.networks import Doors
from rig.ports import free_port
from rig.proxy import Entrepot
from rig.upstreams import WEB_BODY, Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HUB = "hub.example.test"
WEB = "plainweb.example.test"
LOOPBACK = "::1"
FAR = "2001:db8::1"
"""An address that only the corporate proxy reaches (RFC 3849)."""


@pytest.fixture
def literal(upstreams: Upstreams) -> Iterator[FaultServer]:
    """A registry without a name: its certificate is for the address."""
    server = FaultServer(upstreams.authority, LOOPBACK, FAR)
    yield server
    server.stop()


@pytest.fixture
def plain() -> Iterator[FaultServer]:
    """A plain-HTTP registry without a name."""
    server = FaultServer(None)
    yield server
    server.stop()


@pytest.fixture
def doors() -> Iterator[Doors]:
    """Ports of ::1 that lead to the rig's servers."""
    doors = Doors(None)
    yield doors
    doors.close()


def door(doors: Doors, target: int) -> int:
    """Open one and return its port."""
    port = free_port()
    doors.open([LOOPBACK], port, target)
    return port


class StartAtLoopback(Protocol):
    """Starts a proxy that listens at HOST ("" for all) and finds every name at ::1."""

    def __call__(self, host: str) -> Entrepot: ...


@pytest.fixture
def start(start_entrepot: "StartEntrepot", upstreams: Upstreams, doors: Doors) -> StartAtLoopback:
    tls = door(doors, upstreams.nginx.tls_port)
    resolve = [f"{name}:443:[{LOOPBACK}]:{tls}" for name in (HUB, "cdn.example.test", WEB)]

    def start(host: str) -> Entrepot:
        proxy = start_entrepot(listen=f"{host}:{free_port()}", resolve=resolve)
        proxy.address = LOOPBACK
        return proxy

    return start


@pytest.fixture
def entrepot(start: StartAtLoopback) -> Entrepot:
    """A proxy for IPv6 clients alone."""
    return start("[::]")


@pytest.mark.parametrize("host", ["[::1]", ""], ids=["loopback", "all"])
def test_a_listener(start: StartAtLoopback, host: str) -> None:
    """One address is listened on, and all are, those of IPv4 too."""
    assert start(host).client().get(f"https://{HUB}/v2/").status == 200


def pulled_twice(client: Client, entrepot: Entrepot, url: str, content: bytes) -> None:
    """The second time it is a hit."""
    assert client.get(url).body == content
    entrepot.await_stored([url.rpartition("/")[2]])
    again = client.get(url)
    assert (again.body, again.cache_status) == (content, "entrepot; hit")


def test_names_at_an_ipv6_address(
    entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A client over IPv6 pulls from a registry at ::1, by what is fetched and what passes."""
    layer = (image := images.image("six")).layers[0]
    upstreams.push(image, f"{HUB}/acme/six:1")
    client = entrepot.client()
    pulled_twice(client, entrepot, f"https://{HUB}/v2/acme/six/blobs/{layer.digest}", layer.read())
    tags = client.get(f"https://{HUB}/v2/acme/six/tags/list")
    assert (tags.status, tags.json()["tags"]) == (200, ["1"])
    web = entrepot.stranger(upstreams.web_authority.pem)
    assert web.get(f"https://{WEB}/").body == WEB_BODY


def test_literals(
    entrepot: Entrepot, doors: Doors, literal: FaultServer, plain: FaultServer
) -> None:
    """A registry that has an address only is cached, with TLS and without."""
    for scheme, server in (("https", literal), ("http", plain)):
        path, _ = server.add_blob("acme/literal", scheme.encode() * 1000)
        base = f"{scheme}://[{LOOPBACK}]:{door(doors, server.port)}"
        pulled_twice(entrepot.client(), entrepot, base + path, scheme.encode() * 1000)
        answer = entrepot.client().get(f"{base}/v2/acme/literal/tags/list")
        assert answer.cache_status == "entrepot; fwd=bypass; detail=tags"


def test_a_literal_that_is_no_registry(
    entrepot: Entrepot, upstreams: Upstreams, doors: Doors, literal: FaultServer
) -> None:
    """Promise 4: an address behind which nothing says that it is one is a blind tunnel."""
    del literal.routes["/v2/"]
    port = door(doors, literal.port)
    direct = DirectClient(literal.port, upstreams.authority.client_context())
    seen = entrepot.stranger(upstreams.authority.pem).certificate(LOOPBACK, port)
    assert seen == direct.certificate(LOOPBACK)


def test_another_address_inside_is_refused(
    entrepot: Entrepot, doors: Doors, literal: FaultServer
) -> None:
    """Host must name the address of the CONNECT, in whatever spelling."""
    port = door(doors, literal.port)
    url = f"https://[{LOOPBACK}]:{port}/v2/"
    client = entrepot.client()
    for host, status in ((f"[0:0::1]:{port}", 200), (f"[::2]:{port}", 421)):
        assert client.get(url, {"Host": host}).status == status


def test_through_a_corporate_proxy(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, literal: FaultServer
) -> None:
    """An IPv6 literal is asked for there in brackets, to be cached and to be tunnelled."""
    corporate = CorporateProxy([f"[{FAR}]:8443:127.0.0.1:{literal.port}"])
    try:
        proxy = start_entrepot(upstream_proxy=corporate.url)
        path, _ = literal.add_blob("acme/literal", b"blob" * 1000)
        base = f"https://[{FAR}]:8443"
        pulled_twice(proxy.client(), proxy, base + path, b"blob" * 1000)
        assert proxy.client().get(f"{base}/v2/acme/literal/tags/list").status == 404
        stranger = proxy.stranger(upstreams.authority.pem)
        with pytest.raises(ssl.SSLCertVerificationError):
            stranger.certificate(FAR, 8443)
        assert stranger.certificate(FAR, 8443)
    finally:
        corporate.stop()
    assert not corporate.refused

"""How far whose word leads here: what is listed, who is near, and what is known beforehand."""

import socket
from dataclasses import dataclass

import pytest

from entrepot.config.addresses import Resolve
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.own_addresses import Listeners
from entrepot.http_client.connect.ssrf_guard import ITSELF, DestinationError, Destinations
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.protocol.identifiers import HostPort, Origin
from entrepot.protocol.network_reach import Reach
from rig.faults import FaultServer, status

HOST = "registry.example.test"
REGISTRY = Origin("https", HOST, 443)
ELSEWHERE = "10.1.2.3"
"""A client on another machine; nobody has this address here."""


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def destinations(clock: Clock) -> Destinations:
    made = Destinations(
        clock,
        listed=[HostPort.parse("listed.test"), HostPort.parse("port.test:5000")],
        resolve=[Resolve.parse("resolved.test:443:127.0.0.1:8443")],
        mirrored=[Origin("http", "127.0.0.1", 5000)],
    )
    made.listeners = Listeners([("127.0.0.1", 3128), ("", 5001)])
    return made


@pytest.mark.parametrize(
    ("host", "port", "client", "reach"),
    [
        (HOST, 443, ELSEWHERE, Reach.CLIENT),
        (HOST, 443, "127.0.0.1", Reach.ANYWHERE),
        (HOST, 443, "::ffff:127.0.0.1", Reach.ANYWHERE),
        (HOST, 443, "?", Reach.CLIENT),
        (HOST, 443, "", Reach.CLIENT),
        ("LISTED.test.", 1, ELSEWHERE, Reach.ANYWHERE),
        ("port.test", 5000, ELSEWHERE, Reach.ANYWHERE),
        ("port.test", 5001, ELSEWHERE, Reach.CLIENT),
        ("resolved.test", 443, ELSEWHERE, Reach.ANYWHERE),
        ("resolved.test", 80, ELSEWHERE, Reach.CLIENT),
        ("127.0.0.1", 5000, ELSEWHERE, Reach.ANYWHERE),
    ],
)
def test_a_clients_word(
    destinations: Destinations, host: str, port: int, client: str, reach: Reach
) -> None:
    """It leads as far as its own address does, or as far as what is listed."""
    assert destinations.named_by_client(host, port, client) is reach


@pytest.mark.parametrize(
    ("to", "at", "reach"),
    [
        ("https://cdn.test", "9.9.9.9", Reach.FAR),
        ("https://cdn.test", ELSEWHERE, Reach.NEAR),
        ("https://cdn.test", "127.0.0.1", Reach.NEAR),
        ("https://cdn.test", None, Reach.FAR),
        ("https://listed.test", "9.9.9.9", Reach.ANYWHERE),
        (f"http://{HOST}:443", "9.9.9.9", Reach.CLIENT),
        (f"https://{HOST}:444", "9.9.9.9", Reach.FAR),
        ("http://127.0.0.1:5000", "9.9.9.9", Reach.FAR),
    ],
)
def test_a_servers_word(destinations: Destinations, to: str, at: str | None, reach: Reach) -> None:
    """It leads as far as where it comes from; back to the registry as far as the first word."""
    where = Origin.parse(to)
    found = destinations.named_by_server(where, REGISTRY, Reach.CLIENT, REGISTRY, at)
    assert found is reach


def test_where_this_process_listens_nobody_is_led(destinations: Destinations) -> None:
    """At each address of its own where it listens at all of them."""
    for address, port in (
        ("127.0.0.1", 3128),
        ("0.0.0.0", 3128),  # noqa: S104 - nobody listens
        ("::ffff:127.0.0.1", 3128),
        ("127.0.0.2", 5001),
        ("::1", 5001),
    ):
        assert destinations.refusal(Reach.ANYWHERE, address, port) == ITSELF
    for address, port in (("127.0.0.2", 3128), (ELSEWHERE, 5001), ("127.0.0.1", 3129)):
        assert destinations.refusal(Reach.ANYWHERE, address, port) is None


def test_what_is_known_before_a_name_resolves(destinations: Destinations) -> None:
    """Addresses, what always is this machine, and through another proxy its own name as well."""
    name = socket.gethostname()
    assert destinations.foreseen(Reach.ANYWHERE, "localhost", 5001) == ITSELF
    assert destinations.foreseen(Reach.CLIENT, "x.localhost", 1) == "it is a loopback address"
    assert destinations.foreseen(Reach.CLIENT, "2130706433", 1) == "it is a loopback address"
    assert destinations.foreseen(Reach.NEAR, name, 3128) is None
    assert destinations.foreseen(Reach.NEAR, name, 3128, elsewhere=True) == ITSELF
    assert destinations.foreseen(Reach.NEAR, name, 1, elsewhere=True) is not None
    assert destinations.foreseen(Reach.CLIENT, name, 1, elsewhere=True) is None


def test_where_a_name_led_is_known_for_five_minutes(
    destinations: Destinations, clock: Clock
) -> None:
    """As long as what was allowed there counts; where it leads elsewhere now, no longer."""
    assert destinations.foreseen(Reach.CLIENT, HOST, 443) is None
    destinations.connected(HOST, 443, "127.0.0.1")
    assert destinations.foreseen(Reach.CLIENT, HOST, 443) is not None
    assert destinations.foreseen(Reach.ANYWHERE, HOST, 443) is None
    clock.now = 301.0
    assert destinations.foreseen(Reach.CLIENT, HOST, 443) is None
    destinations.connected(HOST, 443, "127.0.0.1")
    destinations.connected(HOST, 443, ELSEWHERE)
    assert destinations.foreseen(Reach.CLIENT, HOST, 443) is None


def test_a_connection_is_for_those_who_would_be_led_there(destinations: Destinations) -> None:
    """One that is kept open for one who may is not used for one who may not."""
    server = FaultServer(None)
    server.routes["/a"] = status(200, b"here")
    where = Target(Origin("http", "127.0.0.1", server.port), "/a")
    upstream = HttpClient(Roots(None, None), destinations=destinations)
    try:
        for _ in range(2):
            with upstream.send(
                "GET", where, (), SendOptions(Follow.NO, reach=Reach.ANYWHERE)
            ) as reply:
                assert (reply.read_all(10), reply.peer) == (b"here", "127.0.0.1")
        for reach in (Reach.CLIENT, Reach.NEAR, Reach.FAR, None):
            with pytest.raises(DestinationError):
                upstream.send("GET", where, (), SendOptions(Follow.NO, reach=reach))
        assert len(server.requests) == 2
    finally:
        upstream.close()
        server.stop()


@pytest.mark.parametrize(
    ("reach", "address", "port", "here"),
    [
        (Reach.ANYWHERE, "127.0.0.1", 3128, True),
        (Reach.ANYWHERE, "::1", 5001, True),
        (Reach.ANYWHERE, "127.0.0.1", 3129, False),
        (Reach.CLIENT, "127.0.0.1", 3128, False),  # of the client's own machine
        (Reach.ANYWHERE, ELSEWHERE, 5001, False),
        (Reach.ANYWHERE, HOST, 5001, False),
    ],
)
def test_where_this_process_is_to_whom(
    destinations: Destinations, reach: Reach, address: str, port: int, *, here: bool
) -> None:
    """What leads back here may be answered at once, but for who means another machine."""
    assert destinations.is_here(reach, address, port) is here

"""The table of who is tunnelled: who refused, and who like it trusts us."""

import pytest

from entrepot.protocol.identifiers import Origin
from entrepot.upstream.discovery.tls_fingerprint import Fingerprint
from entrepot.upstream.discovery.untrusting_clients import MOST_SHOWN, UntrustingClients

GHCR, QUAY, HUB = (Origin("https", host, 443) for host in ("ghcr.io", "quay.io", "docker.io"))
GO, CURL = Fingerprint("0123456789ab", "Go"), Fingerprint("ba9876543210", "OpenSSL")
HERE, THERE = "10.0.0.5", "10.0.0.6"
MINUTE, HOUR = 60.0, 3600.0


class World:
    """What is known of clients, and a clock."""

    def __init__(self) -> None:
        self.clients = UntrustingClients()
        self.now = 1e6

    def comes(
        self, fingerprint: Fingerprint = GO, origin: Origin = GHCR, client: str = HERE
    ) -> str:
        tunnelled = self.clients.tunnels(client, fingerprint, origin, self.now)
        return "tunnelled" if tunnelled else "looked into"

    def refuses(
        self, fingerprint: Fingerprint = GO, origin: Origin = GHCR, client: str = HERE
    ) -> float | None:
        """Come, be looked into, and refuse; how many minutes of tunnel follow."""
        refusal = self.clients.add(client, fingerprint, origin, self.now)
        return refusal.seconds / MINUTE if refusal else None

    def trusts(self, fingerprint: Fingerprint = GO, origin: Origin = GHCR) -> None:
        self.clients.trusts(HERE, fingerprint, origin, self.now)

    def tunnel(self) -> float:
        """How many minutes the client is tunnelled from now on, in steps of one."""
        begun = self.now
        while self.comes() == "tunnelled":
            self.now += MINUTE
        return (self.now - begun) / MINUTE


@pytest.fixture
def world() -> World:
    return World()


def test_a_client_that_never_refused_is_looked_into(world: World) -> None:
    assert world.comes() == "looked into"
    world.trusts()
    assert world.comes() == "looked into"


def test_who_refused_fails_once(world: World) -> None:
    """From the next connection on it is tunnelled for ten minutes, whenever that comes in ten."""
    assert world.refuses() == 10
    world.now += 9 * MINUTE
    assert world.tunnel() == 10


def test_who_does_not_come_again_has_no_tunnel(world: World) -> None:
    world.refuses()
    world.now += 10 * MINUTE
    assert world.comes() == "looked into"


def test_who_looks_otherwise_is_looked_into(world: World) -> None:
    """Another program at that address, and the same at another one."""
    world.refuses()
    assert world.comes(CURL) == "looked into"
    assert world.comes(client=THERE) == "looked into"


def test_who_refused_at_one_host_does_not_fail_at_the_next(world: World) -> None:
    """A registry, its token server, other registries: it failed once, which is enough."""
    world.refuses()
    assert world.comes(origin=QUAY) == "tunnelled"
    assert world.comes(CURL, QUAY) == "looked into"
    world.now += 10 * MINUTE
    assert world.comes(origin=QUAY) == "looked into", "it may trust us for that host (certs.d)"
    world.trusts(origin=QUAY)
    assert world.refuses() is not None
    assert world.comes(origin=HUB) == "looked into", "by now it is known to trust us for some"
    assert world.comes() == "tunnelled"


def test_a_tunnel_elsewhere_makes_none_without_a_refusal(world: World) -> None:
    """What one host has because of another is no reason for a third."""
    world.refuses()
    world.comes()
    world.now += 9 * MINUTE
    assert world.comes(origin=QUAY) == "tunnelled"
    world.now += 5 * MINUTE
    assert world.comes(origin=HUB) == "looked into"


def test_refusals_in_a_row_make_tunnels_longer(world: World) -> None:
    """A client that stays without the CA fails once an hour at last."""
    lengths = []
    for _ in range(5):
        world.refuses()
        lengths.append(world.tunnel())
    assert lengths == [10, 20, 40, 60, 60]
    world.now += HOUR
    world.refuses()
    assert world.tunnel() == 10


def test_where_others_like_it_trust_us_tunnels_are_brief(world: World) -> None:
    """Two of one version behind one address: who refused comes again at once, the other waits."""
    lengths = []
    for _ in range(6):
        world.trusts()
        world.now += 1.0
        world.refuses()
        world.now += 5.0
        lengths.append(world.tunnel())
    assert lengths == [1, 2, 4, 8, 10, 10]


def test_a_proof_of_trust_counts_until_the_next_refusal(world: World) -> None:
    """Where the CA was taken away, two connections fail within a minute, then one in a while."""
    world.trusts()
    world.now += HOUR
    assert world.refuses() == 1
    assert world.tunnel() == 1
    world.refuses()
    assert world.tunnel() == 20


def test_a_proof_of_trust_ends_a_long_tunnel(world: World) -> None:
    """Its handshake began before the refusal of another that looks the same."""
    world.refuses()
    world.trusts()
    assert world.tunnel() == 1
    world.refuses()
    assert world.comes() == "tunnelled"
    world.trusts()
    assert world.tunnel() == 1


def test_refusals_at_once_count_as_one(world: World) -> None:
    """A client opens several connections before it judges the first."""
    assert [world.refuses() for _ in range(3)] == [10, None, None]
    assert world.tunnel() == 10


def test_a_refusal_is_news_once_in_ten_minutes(world: World) -> None:
    """Of each client and host."""
    world.trusts()
    assert world.refuses() == 1
    world.tunnel()
    world.trusts()
    assert world.refuses() is None
    assert world.refuses(CURL) == 10
    assert world.refuses(origin=QUAY) == 10
    world.now += 10 * MINUTE
    assert world.refuses() is not None


def test_who_fetches_the_certificate_is_looked_into_again(world: World) -> None:
    """All at its address, but once an hour only: a monitor may fetch it every minute."""
    for fingerprint, origin in ((GO, GHCR), (CURL, QUAY)):
        world.refuses(fingerprint, origin)
    world.comes()
    world.clients.fetched(THERE, world.now)
    assert world.comes() == "tunnelled"
    world.clients.fetched(HERE, world.now)
    assert world.comes() == world.comes(CURL, QUAY) == "looked into"
    world.refuses()
    world.now += MINUTE
    world.clients.fetched(HERE, world.now)
    assert world.comes() == "tunnelled"


def test_whether_any_client_of_an_address_is_tunnelled(world: World) -> None:
    world.refuses()
    assert world.clients.refuses(HERE, GHCR, world.now)
    assert not world.clients.refuses(HERE, QUAY, world.now)
    assert not world.clients.refuses(THERE, GHCR, world.now)
    assert not world.clients.refuses(HERE, GHCR, world.now + 10 * MINUTE)


def test_the_list_names_who_does_not_trust_us(world: World) -> None:
    """Each client with its hosts, since when, how often; and whether others there trust us."""
    begun = world.now
    world.refuses(CURL, client=THERE)
    world.now += MINUTE
    world.refuses()
    world.comes()
    world.now += MINUTE
    world.comes(origin=QUAY)
    world.refuses(origin=HUB)
    world.trusts(CURL)
    world.now += MINUTE
    here, there = world.clients.shown(world.now)
    assert (here.address, here.fingerprint, here.others_trust) == (HERE, GO, True)
    assert here.hosts == tuple(sorted(origin.authority for origin in (HUB, GHCR, QUAY)))
    assert (here.since, here.last) == (world.now - begun - MINUTE, MINUTE)
    assert (here.refused, here.tunnelled) == (2, 2)
    assert (there.address, there.fingerprint, there.others_trust) == (THERE, CURL, False)


def test_who_trusts_us_by_now_leaves_the_list(world: World) -> None:
    """After an hour without a refusal; who does not come any more after a day."""
    world.refuses()
    world.refuses(CURL)
    world.now += MINUTE
    world.trusts()
    world.now += HOUR
    assert [one.fingerprint for one in world.clients.shown(world.now)] == [CURL]
    world.now += 24 * HOUR
    assert world.clients.shown(world.now) == []


def test_what_is_remembered_of_an_address_is_bounded(world: World) -> None:
    """One that names ever new hosts, or looks otherwise each time, loses what is its own."""
    world.refuses(client=THERE)
    for number in range(2000):
        world.refuses(Fingerprint(f"{number:012x}"))
    assert len(world.clients._rows) == 1001  # noqa: SLF001
    assert world.comes(client=THERE) == "tunnelled"
    assert len(world.clients.shown(world.now)) == MOST_SHOWN

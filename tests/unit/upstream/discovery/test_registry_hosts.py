"""Which hosts are intercepted, and what it takes to be taken for a registry."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrepot.auth import token_servers
from entrepot.auth.grants import Access
from entrepot.auth.token_servers import Realms
from entrepot.config.addresses import Resolve
from entrepot.events import Events
from entrepot.http_client.client import Follow, Upstream
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.response import Target
from entrepot.protocol.identifiers import HostPort, Origin
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from entrepot.upstream.discovery import probes
from entrepot.upstream.discovery import registry_hosts as rules
from entrepot.upstream.discovery.interception import Interception, Role
from entrepot.upstream.discovery.probes import Bounds
from entrepot.upstream.discovery.refused_certificates import REFUSED_SECONDS
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from rig.certs import Authority
from rig.faults import Content, Exchange, FaultServer, Gate, Handler, error, redirect, status

NAME = "registry.example.test"
ORIGIN = Origin("https", NAME, 443)
VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
BEARER = {"WWW-Authenticate": 'Bearer realm="https://auth.example.test/token",service="a"'}
CLIENT = "10.0.0.5"
AUTH = Origin("https", "auth.example.test", 443)
SLOW = [f"slow-{number}.example.test" for number in range(4)]


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1e9

    def __call__(self) -> float:
        return self.now


@dataclass
class Setting:
    """What decides of hosts, and what it works with."""

    hosts: RegistryHosts
    interception: Interception
    realms: Realms
    clock: Clock
    events: Events


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def shared_server(authority: Authority) -> Iterator[FaultServer]:
    server = FaultServer(authority, NAME, AUTH.host, *SLOW)
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: FaultServer) -> FaultServer:
    shared_server.reset()
    return shared_server


@pytest.fixture
def nowhere(authority: Authority) -> Upstream:
    """A client for which every name that a test asks about is unreachable."""
    unreachable = (Resolve(host, port, "127.0.0.1", 1) for host, port in UNREACHABLE)
    return Upstream(Roots(authority.pem, None), resolve=tuple(unreachable))


@pytest.fixture
def reachable(authority: Authority, server: FaultServer) -> Upstream:
    """A client that finds the server."""
    resolve = tuple(Resolve.parse(entry) for entry in server.resolve)
    return Upstream(Roots(authority.pem, None), resolve=resolve, read_seconds=5)


@contextmanager
def setting(
    folder: Path,
    upstream: Upstream,
    *listed: str,
    only_listed: bool = False,
    permit: str = "",
    clock: Clock | None = None,
    bounds: Bounds | None = None,
) -> Iterator[Setting]:
    clock = clock or Clock()
    events, realms = Events(), Realms()
    with (
        closing(Store(folder, 10**7, clock)) as store,
        closing(Context.make(store, upstream, Access(b"x"), events, clock)) as context,
    ):
        hosts = RegistryHosts(
            context,
            listed=tuple(HostPort.parse(text) for text in listed),
            only_listed=only_listed,
            bounds=bounds,
        )
        interception = Interception(context, realms, hosts, lambda host: host.endswith(permit))
        yield Setting(hosts, interception, realms, clock, events)


UNREACHABLE = [
    ("docker.io", 443),
    ("docker.io.evil.test", 443),
    ("evil-docker.io", 443),
    ("notghcr.io", 443),
    ("ghcr.io", 8443),
    ("a.b.gcr.io", 443),
    ("evil.pkg.dev", 443),
    ("a.azurecr.io.evil.test", 443),
    ("12345.dkr.ecr.eu-west-1.amazonaws.com", 443),
    ("s3.amazonaws.com", 443),
    ("production.cloudflare.docker.com", 443),
    ("www.docker.com", 443),
    ("github.com", 443),
    ("registryxk8s.io", 443),
]


@pytest.mark.parametrize(
    "host",
    [
        "registry-1.docker.io",
        "index.docker.io",
        "auth.docker.io",
        "ghcr.io",
        "quay.io",
        "gcr.io",
        "eu.gcr.io",
        "europe-west1-docker.pkg.dev",
        "registry.k8s.io",
        "mcr.microsoft.com",
        "public.ecr.aws",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "myregistry.azurecr.io",
        "registry.gitlab.com",
        "nvcr.io",
        "docker.elastic.co",
        "registry.access.redhat.com",
        "registry.redhat.io",
    ],
)
def test_well_known_registries_are_not_asked(tmp_path: Path, nowhere: Upstream, host: str) -> None:
    """The first pull from them does not wait for a probe."""
    with setting(tmp_path, nowhere) as it:
        assert asyncio.run(it.hosts.is_registry(Origin("https", host, 443)))
        assert not it.events.counts


@pytest.mark.parametrize(("host", "port"), UNREACHABLE)
def test_similar_names_are_not_known(
    tmp_path: Path, nowhere: Upstream, host: str, port: int
) -> None:
    """Other ports, other domains and content networks are asked, and tunnelled if silent."""
    with setting(tmp_path, nowhere) as it:
        assert not asyncio.run(it.hosts.is_registry(Origin("https", host, port)))
        assert it.events.counts == {"probed": 1}


@pytest.mark.parametrize(
    ("handler", "registry"),
    [
        (status(200, b"{}", VERSION), True),
        (status(401, b"", VERSION), True),
        (error(401, "UNAUTHORIZED", "log in", VERSION | {"WWW-Authenticate": "Basic"}), True),
        (error(401, "UNAUTHORIZED", "log in", BEARER), True),
        (status(200, b"{}"), False),
        (status(200, b"<html>"), False),
        (status(200, b"{}", {"Docker-Distribution-Api-Version": "registry/1.0"}), False),
        (status(404, b"", VERSION), False),
        (status(500, b"", VERSION), False),
        (status(403, b"", VERSION), False),
        (error(401, "UNAUTHORIZED", "log in"), False),
        (error(401, "UNAUTHORIZED", "log in", {"WWW-Authenticate": 'Basic realm="a"'}), False),
        (
            error(401, "UNAUTHORIZED", "", {"WWW-Authenticate": 'Bearer realm="http://a.test/"'}),
            False,
        ),
        (status(401, b"please log in", BEARER), False),
        (status(401, b'{"errors":[]}', BEARER), False),
        (status(401, b'{"errors":[{}]}', BEARER), False),
        (status(401, b"[1]", BEARER), False),
        (status(401, b'{"errors":7}', BEARER), False),
        (status(401, b"[" * 10_000, BEARER), False),
        (status(401, b'{"errors":[{"code":"A"}]}' + b" " * 20_000 + b"x", BEARER), True),
        (Content(bytes(1_000_000), headers=VERSION), True),
        (redirect("/elsewhere"), False),
    ],
)
def test_only_a_registrys_answer_makes_a_registry(
    tmp_path: Path,
    reachable: Upstream,
    server: FaultServer,
    handler: Handler,
    registry: bool,  # noqa: FBT001 a column of the table
) -> None:
    """A bare 200, a Basic challenge or a redirect is anybody's; at most 16 KiB are looked at."""
    server.routes = {"/v2/": handler, "/elsewhere": status(200, b"{}", VERSION)}
    with setting(tmp_path, reachable) as it:
        assert asyncio.run(it.hosts.is_registry(ORIGIN)) is registry
    assert [seen.path for seen in server.requests] == ["/v2/"]


def test_a_probe_shows_nothing_of_the_client(
    tmp_path: Path, reachable: Upstream, server: FaultServer
) -> None:
    """One plain GET, without credentials."""
    with setting(tmp_path, reachable) as it:
        asyncio.run(it.interception.intercepts(ORIGIN, CLIENT))
    (seen,) = server.requests
    assert (seen.method, seen.path, seen.host) == ("GET", "/v2/", NAME)
    assert set(seen.headers) <= {"host", "accept", "accept-encoding", "user-agent"}


def test_a_probe_leaves_its_connection_for_the_client(
    tmp_path: Path, reachable: Upstream, server: FaultServer
) -> None:
    """The first ping after it needs no handshake."""
    ports = set()

    def challenge(exchange: Exchange) -> None:
        ports.add(exchange._handler.client_address[1])  # noqa: SLF001 the rig hides it
        error(401, "UNAUTHORIZED", "log in", VERSION)(exchange)

    server.routes = {"/v2/": challenge}
    with setting(tmp_path, reachable) as it:
        assert asyncio.run(it.hosts.is_registry(ORIGIN))
        reachable.send("GET", Target(ORIGIN, "/v2/"), (), follow=Follow.NO).close()
    assert len(ports) == 1


def test_an_untrusted_certificate_is_no_registry(tmp_path: Path, server: FaultServer) -> None:
    """Whoever cannot prove the name is tunnelled."""
    resolve = tuple(Resolve.parse(entry) for entry in server.resolve)
    with setting(tmp_path, Upstream(Roots(None, None), resolve=resolve)) as it:
        assert not asyncio.run(it.hosts.is_registry(ORIGIN))
    assert not server.requests


def test_clients_that_come_at_once_cost_one_probe(
    tmp_path: Path, reachable: Upstream, server: FaultServer
) -> None:
    """All wait for the same answer."""

    async def scenario(hosts: RegistryHosts) -> list[bool]:
        return await asyncio.gather(*(hosts.is_registry(ORIGIN) for _ in range(20)))

    with setting(tmp_path, reachable) as it:
        assert asyncio.run(scenario(it.hosts)) == [True] * 20
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("handler", "seconds"),
    [
        (status(200, b"{}", VERSION), rules.YES_SECONDS),
        (status(404), rules.NO_SECONDS),
        (lambda exchange: exchange.cut(), rules.UNREACHABLE_SECONDS),
    ],
)
def test_a_verdict_counts_for_its_time(
    tmp_path: Path, reachable: Upstream, server: FaultServer, handler: Handler, seconds: float
) -> None:
    """A yes is asked again after a week, a no after an hour, silence after a minute."""
    server.routes = {"/v2/": handler}

    async def scenario(it: Setting) -> list[int]:
        asked = []
        start = it.clock.now
        for after in (0.0, seconds - 1, seconds + 1):
            it.clock.now = start + after
            await it.hosts.is_registry(ORIGIN)
            asked.append(len(server.requests))
        return asked

    with setting(tmp_path, reachable) as it:
        assert asyncio.run(scenario(it)) == [1, 1, 2]


def test_a_yes_survives_a_restart_without_network(
    tmp_path: Path, reachable: Upstream, authority: Authority
) -> None:
    """What was found to be a registry is intercepted before anything can be asked."""
    with setting(tmp_path, reachable) as it:
        assert asyncio.run(it.hosts.is_registry(ORIGIN))
    down = Upstream(Roots(authority.pem, None), resolve=(Resolve(NAME, 443, "127.0.0.1", 1),))
    with setting(tmp_path, down) as it:
        assert asyncio.run(it.hosts.is_registry(ORIGIN))
    # It has ended; or the clock was set back since, and it would count for too long. It cannot be
    # asked, so it is what it was.
    for now in (1e9 + rules.YES_SECONDS + 1, 1e9 - 60):
        with setting(tmp_path, down, clock=Clock(now)) as it:
            assert asyncio.run(it.hosts.is_registry(ORIGIN))


def test_a_registry_that_is_silent_is_not_probed_again_and_again(
    tmp_path: Path, reachable: Upstream, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was is known; the probe that found it silent spares the next request its wait."""
    monkeypatch.setattr(probes, "PROBE_SECONDS", 0.2)
    silence = threading.Event()

    async def scenario(it: Setting) -> None:
        assert await it.hosts.is_registry(ORIGIN)
        it.clock.now += rules.YES_SECONDS + 1
        server.routes["/v2/"] = Content(b"", wait=silence)
        server.requests.clear()
        for _ in range(3):
            assert await it.hosts.is_registry(ORIGIN)
            it.clock.now += rules.UNREACHABLE_SECONDS + 1
        assert it.events.counts["upstream_away"] == 1
        # HEAD: the trials, for which nobody waits.
        assert [seen.method for seen in server.requests].count("GET") == 1

    with setting(tmp_path, reachable) as it:
        asyncio.run(scenario(it))
    silence.set()


@pytest.mark.parametrize(
    ("listed", "origin", "registry"),
    [
        ("ghcr.io.evil.test", "https://ghcr.io.evil.test", True),
        ("a.test", "https://a.test:5000", True),
        ("a.test:5000", "https://a.test:5000", True),
        ("a.test:5000", "http://a.test:5000", True),
        ("a.test:5000", "https://a.test", False),
        ("a.test", "https://b.a.test", False),
        ("a.test", "https://ghcr.io", False),
    ],
)
def test_only_listed_hosts_where_so_configured(
    tmp_path: Path,
    nowhere: Upstream,
    listed: str,
    origin: str,
    registry: bool,  # noqa: FBT001 a column of the table
) -> None:
    """A listed host is never asked, and with ``only_listed`` no other one is intercepted."""
    with setting(tmp_path, nowhere, listed, only_listed=True) as it:
        assert asyncio.run(it.hosts.is_registry(Origin.parse(origin))) is registry
        assert not it.events.counts


HEADER = [BEARER["WWW-Authenticate"]]


def send(it: Setting, registry: Origin = ORIGIN, client: str = CLIENT) -> None:
    """Let a client be sent to AUTH by a registry."""
    it.realms.challenged(registry, HEADER)
    it.interception.sent(client, registry, HEADER)


def test_a_token_server_is_intercepted_for_who_was_sent_there(
    tmp_path: Path, reachable: Upstream, server: FaultServer
) -> None:
    """For tokens alone, for ten minutes, on the word of a registry; it is no registry by that."""
    server.routes = {"/v2/": error(404, "NOT_FOUND", "no registry")}

    async def scenario(it: Setting) -> None:
        send(it)
        assert await it.interception.role(AUTH, CLIENT) is None, "who sent there is no registry"
        await it.hosts.learn(ORIGIN)
        assert await it.interception.role(AUTH, CLIENT) is Role.TOKENS
        assert await it.interception.role(AUTH, "10.0.0.6") is None
        assert not await it.hosts.is_registry(AUTH)
        it.clock.now += token_servers.SENT_SECONDS
        assert await it.interception.role(AUTH, CLIENT) is None

    with setting(tmp_path, reachable) as it:
        asyncio.run(scenario(it))
    assert [seen.path for seen in server.of(method="HEAD")] == ["/"]


@pytest.mark.parametrize(
    ("listed", "only_listed", "registry", "role"),
    [
        (NAME, False, f"https://{NAME}", Role.TOKENS),
        (NAME, True, f"https://{NAME}", Role.TOKENS),
        ("hub.example.test", True, f"https://{NAME}", None),
        ("hub.example.test", False, f"http://{NAME}", None),
        (NAME, True, f"http://{NAME}:443", Role.TOKENS),
        ("auth.example.test", True, f"https://{NAME}", Role.REGISTRY),
    ],
)
def test_who_may_send_clients_for_tokens(
    tmp_path: Path,
    reachable: Upstream,
    server: FaultServer,
    listed: str,
    only_listed: bool,  # noqa: FBT001 a column of the table
    registry: str,
    role: Role | None,
) -> None:
    """Who is intercepted; one whose words anybody on the road may change, if it is listed."""
    server.routes = {"/v2/": error(404, "NOT_FOUND", "no registry")}

    async def scenario(it: Setting) -> None:
        origin = Origin.parse(registry)
        if not only_listed:
            await it.hosts.learn(origin)
        send(it, origin)
        assert await it.interception.role(AUTH, CLIENT) is role

    with setting(tmp_path, reachable, listed, only_listed=only_listed) as it:
        asyncio.run(scenario(it))


def roles(it: Setting, *, seconds: tuple[float, ...]) -> list[Role | None]:
    """As what AUTH is intercepted for who was just sent there, at these times after the first."""

    async def scenario() -> list[Role | None]:
        found, start = [], it.clock.now
        await it.hosts.learn(ORIGIN)
        for after in seconds:
            it.clock.now = start + after
            send(it)
            found.append(await it.interception.role(AUTH, CLIENT))
        return found

    return asyncio.run(scenario())


def no_http(exchange: Exchange) -> None:
    """Answer as a server of HTTP/2 does (RFC 9113 section 3.4), which then gives up."""
    exchange.raw(b"\0\0\0\4\0\0\0\0\0")
    exchange.hang_up()


@pytest.mark.parametrize(
    ("answer", "role"),
    [
        (status(200), Role.TOKENS),
        (status(401), Role.TOKENS),
        (status(405), Role.TOKENS),
        (status(500), Role.TOKENS),
        (status(426), None),
        (status(505), None),
        (no_http, None),
        (lambda exchange: exchange.cut(), None),
    ],
)
def test_a_token_server_has_to_speak_http_1(
    tmp_path: Path,
    reachable: Upstream,
    server: FaultServer,
    answer: Handler,
    role: Role | None,
) -> None:
    """Whatever it says."""
    server.routes = {"/": answer}
    with setting(tmp_path, reachable) as it:
        assert roles(it, seconds=(0.0,)) == [role]
        assert it.events.counts["left_alone"] == (role is None)


def test_a_token_server_is_looked_at_once_an_hour(
    tmp_path: Path, reachable: Upstream, server: FaultServer, authority: Authority
) -> None:
    """What it is found to be then counts, whatever it was."""
    plain = authority.issue(*server.names)
    with setting(tmp_path, reachable) as it:
        assert roles(it, seconds=(0.0, 3599.0)) == [Role.TOKENS] * 2
        assert len(server.of(method="HEAD")) == 1
        server.show(plain.asking_context(authority.pem))
        assert roles(it, seconds=(0.0, 1.0)) == [Role.TOKENS, None]
        server.show(plain.server_context())
        assert roles(it, seconds=(3599.0, 3601.0)) == [None, Role.TOKENS]
        assert len(server.of(method="HEAD")) == 3


def test_a_token_server_that_is_away_is_what_it_was(
    tmp_path: Path, reachable: Upstream, server: FaultServer, authority: Authority
) -> None:
    """Nobody loses by a look at what cannot be met; and there is a token of ours for them."""
    at = reachable._resolve  # noqa: SLF001 where it leads is all that changes
    there, nowhere = at[AUTH.host, 443], ("127.0.0.1", 1)
    asking = authority.issue(*server.names).asking_context(authority.pem)
    with setting(tmp_path, reachable) as it:
        at[AUTH.host, 443] = nowhere
        assert roles(it, seconds=(0.0, 59.0)) == [Role.TOKENS] * 2
        at[AUTH.host, 443] = there
        server.show(asking)
        assert roles(it, seconds=(0.0, 61.0)) == [Role.TOKENS, None]
        at[AUTH.host, 443] = nowhere
        assert roles(it, seconds=(3601.0,)) == [None]
    server.show(authority.issue(*server.names).server_context())


@pytest.mark.parametrize("insist", [False, True])
def test_a_registry_that_asks_for_a_certificate_is_none_to_us(
    tmp_path: Path,
    reachable: Upstream,
    server: FaultServer,
    authority: Authority,
    insist: bool,  # noqa: FBT001 a column of the table
) -> None:
    """Even where it can do without: its clients' certificates are not ours to show."""
    leaf = authority.issue(*server.names)
    server.show(leaf.asking_context(authority.pem, insist=insist))

    async def scenario(it: Setting) -> None:
        assert not await it.hosts.is_registry(ORIGIN)
        await it.hosts.learn(ORIGIN)
        assert not await it.hosts.is_registry(ORIGIN)

    with setting(tmp_path, reachable) as it:
        asyncio.run(scenario(it))
        assert it.events.counts["left_alone"] == (1 if insist else 2)
    server.show(leaf.server_context())


def test_a_registry_that_is_doubted_is_looked_at_again(
    tmp_path: Path, reachable: Upstream, server: FaultServer, authority: Authority
) -> None:
    """At most once a minute; what it is then counts after a restart too."""
    leaf = authority.issue(*server.names)

    async def doubted(it: Setting, *, registry: bool) -> None:
        it.hosts.doubt(ORIGIN, CLIENT)
        for task in list(it.hosts._looking):  # noqa: SLF001 nobody else waits for it
            await task
        assert await it.hosts.is_registry(ORIGIN) is registry

    async def scenario(it: Setting) -> None:
        await doubted(it, registry=True)  # it was not met yet
        await doubted(it, registry=True)
        assert len(server.of(method="HEAD")) == 1
        server.show(leaf.asking_context(authority.pem))
        await doubted(it, registry=True)
        it.clock.now += 61
        await doubted(it, registry=False)
        assert it.events.counts["left_alone"] == 1

    with setting(tmp_path, reachable) as it:
        asyncio.run(scenario(it))
    down = Upstream(Roots(authority.pem, None), resolve=(Resolve(NAME, 443, "127.0.0.1", 1),))
    with setting(tmp_path, down) as it:
        assert not asyncio.run(it.hosts.is_registry(ORIGIN))
    server.show(leaf.server_context())


# How many at once


@pytest.mark.parametrize(
    ("bounds", "scanner", "answered"),
    [
        (Bounds(client=2, all=9, seconds=0.1), ["a"] * 2, ["b"]),
        (Bounds(client=2, all=3, seconds=0.1), ["a", "a", "b"], []),
    ],
)
def test_probes_are_bounded(
    tmp_path: Path,
    reachable: Upstream,
    server: FaultServer,
    bounds: Bounds,
    scanner: list[str],
    answered: list[str],
) -> None:
    """For each client and in all; who gets no place is tunnelled, and nothing is remembered."""
    silence = threading.Event()
    hosts = [Origin("https", name, 443) for name in SLOW]

    async def scenario(it: Setting) -> None:
        server.routes["/v2/"] = Content(b"", wait=silence, headers=VERSION)
        asked = zip(hosts, scanner, strict=False)
        probes = [asyncio.create_task(it.hosts.is_registry(one[0], client=one[1])) for one in asked]
        await asyncio.to_thread(lambda: server.await_request(path="/v2/", count=len(scanner)))
        server.routes["/v2/"] = status(200, b"{}", VERSION)
        assert not await it.hosts.is_registry(ORIGIN, client=scanner[-1])
        assert [await it.hosts.is_registry(ORIGIN, client=client) for client in answered] == [
            True for _ in answered
        ]
        silence.set()
        assert await asyncio.gather(*probes) == [True] * len(probes)
        assert await it.hosts.is_registry(ORIGIN, client=scanner[-1])

    with setting(tmp_path, reachable, bounds=bounds) as it:
        asyncio.run(scenario(it))


def test_what_is_kept_on_disk_needs_no_place(tmp_path: Path, reachable: Upstream) -> None:
    """A registry that was found once is one while all places are taken."""
    with setting(tmp_path, reachable) as it:
        assert asyncio.run(it.hosts.is_registry(ORIGIN))
    with setting(tmp_path, reachable, bounds=Bounds(client=1, all=0, seconds=0.1)) as it:
        assert asyncio.run(it.hosts.is_registry(ORIGIN))


def test_a_client_that_names_many_hosts_makes_its_own_forgotten(
    tmp_path: Path, reachable: Upstream, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A «no» to another client is remembered for its hour."""
    monkeypatch.setattr(rules, "REMEMBERED_FOR_A_CLIENT", 3)
    server.routes["/v2/"] = status(404)

    async def scenario(it: Setting) -> None:
        await it.hosts.is_registry(ORIGIN, client="a")
        for name in SLOW:
            await it.hosts.is_registry(Origin("https", name, 443), client="b")
        server.requests.clear()
        await it.hosts.is_registry(ORIGIN, client="a")
        assert not server.requests
        await it.hosts.is_registry(Origin("https", SLOW[0], 443), client="b")
        assert server.requests

    with setting(tmp_path, reachable) as it:
        asyncio.run(scenario(it))


def test_a_learnt_registry_is_intercepted(
    tmp_path: Path, reachable: Upstream, server: FaultServer
) -> None:
    """A host that answered as a registry is not asked again."""

    async def scenario(hosts: RegistryHosts) -> bool:
        await hosts.learn(ORIGIN)
        return await hosts.is_registry(ORIGIN)

    with setting(tmp_path, reachable) as it:
        assert asyncio.run(scenario(it.hosts))
    assert not server.requests


def test_a_host_that_the_authority_may_not_sign_for_is_tunnelled(
    tmp_path: Path, nowhere: Upstream
) -> None:
    """A constrained authority would only make the client refuse."""
    with setting(tmp_path, nowhere, permit=".example.test") as it:
        assert not asyncio.run(it.interception.intercepts(Origin("https", "ghcr.io", 443), CLIENT))


def test_a_client_that_refuses_us_is_tunnelled_for_ten_minutes(
    tmp_path: Path, nowhere: Upstream
) -> None:
    """That client, that host, and no other; it is news once."""
    ghcr, quay = (Origin("https", host, 443) for host in ("ghcr.io", "quay.io"))

    async def scenario(it: Setting) -> None:
        assert it.interception.certificate_refused(ghcr, CLIENT)
        assert not it.interception.certificate_refused(ghcr, CLIENT)
        assert not await it.interception.intercepts(ghcr, CLIENT)
        assert await it.interception.intercepts(quay, CLIENT)
        assert await it.interception.intercepts(ghcr, "10.0.0.6")
        it.clock.now += REFUSED_SECONDS
        assert await it.interception.intercepts(ghcr, CLIENT)
        assert it.interception.certificate_refused(ghcr, CLIENT)

    with setting(tmp_path, nowhere) as it:
        asyncio.run(scenario(it))


def test_a_body_that_stalls_is_no_registry(
    tmp_path: Path, reachable: Upstream, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that begins to answer and stops is tunnelled, and the client waits no longer."""
    monkeypatch.setattr(probes, "PROBE_SECONDS", 0.1)
    gate = Gate()
    server.routes = {"/v2/": Unauthorized(gate)}

    async def scenario(hosts: RegistryHosts) -> bool:
        before = set(threading.enumerate())
        registry = await hosts.is_registry(ORIGIN)
        gate.open()
        for thread in {t for t in threading.enumerate() if t.name.endswith("(_run)")} - before:
            await asyncio.to_thread(thread.join, 5)
        return registry

    with setting(tmp_path, reachable) as it:
        assert not asyncio.run(scenario(it.hosts))


class Unauthorized:
    """A challenge whose body waits for a gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __call__(self, exchange: Exchange) -> None:
        exchange.start(401, {"Content-Length": "100", **BEARER})
        exchange.write(bytes(self._gate.take(100)))

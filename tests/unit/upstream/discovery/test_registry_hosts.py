"""Which hosts are registries, for how long that counts, and who is not asked."""

import asyncio
import threading
from pathlib import Path

import pytest

from entrepot.config.addresses import Resolve
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.discovery import probes
from entrepot.upstream.discovery import registry_hosts as rules
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from rig.certs import Authority
from rig.faults import Content, FaultServer, Handler, status
from rig.hosts import (
    CLIENT,
    NAME,
    ORIGIN,
    SLOW,
    UNREACHABLE,
    VERSION,
    Clock,
    Setting,
    setting,
)


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
def test_well_known_registries_are_not_asked(
    tmp_path: Path, nowhere: HttpClient, host: str
) -> None:
    """The first pull from them does not wait for a probe."""
    with setting(tmp_path, nowhere) as it:
        assert asyncio.run(it.hosts.is_registry(Origin("https", host, 443)))
        assert not it.events.counts


@pytest.mark.parametrize(("host", "port"), UNREACHABLE)
def test_similar_names_are_not_known(
    tmp_path: Path, nowhere: HttpClient, host: str, port: int
) -> None:
    """Other ports, other domains and content networks are asked, and tunnelled if silent."""
    with setting(tmp_path, nowhere) as it:
        assert not asyncio.run(it.hosts.is_registry(Origin("https", host, port)))
        assert it.events.counts == {"host_probed": 1}


def test_clients_that_come_at_once_cost_one_probe(
    tmp_path: Path, reachable: HttpClient, server: FaultServer
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
    tmp_path: Path, reachable: HttpClient, server: FaultServer, handler: Handler, seconds: float
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
    tmp_path: Path, reachable: HttpClient, authority: Authority
) -> None:
    """What was found to be a registry is intercepted before anything can be asked."""
    with setting(tmp_path, reachable) as it:
        assert asyncio.run(it.hosts.is_registry(ORIGIN))
    down = HttpClient(Roots(authority.pem, None), resolve=(Resolve(NAME, 443, "127.0.0.1", 1),))
    with setting(tmp_path, down) as it:
        assert asyncio.run(it.hosts.is_registry(ORIGIN))
    # It has ended; or the clock was set back since, and it would count for too long. It cannot be
    # asked, so it is what it was.
    for now in (1e9 + rules.YES_SECONDS + 1, 1e9 - 60):
        with setting(tmp_path, down, clock=Clock(now)) as it:
            assert asyncio.run(it.hosts.is_registry(ORIGIN))


def test_a_registry_that_is_silent_is_not_probed_again_and_again(
    tmp_path: Path, reachable: HttpClient, server: FaultServer, monkeypatch: pytest.MonkeyPatch
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
    nowhere: HttpClient,
    listed: str,
    origin: str,
    registry: bool,  # noqa: FBT001 a column of the table
) -> None:
    """A listed host is never asked, and with ``only_listed`` no other one is intercepted."""
    with setting(tmp_path, nowhere, listed, only_listed=True) as it:
        assert asyncio.run(it.hosts.is_registry(Origin.parse(origin))) is registry
        assert not it.events.counts


@pytest.mark.parametrize("insist", [False, True])
def test_a_registry_that_asks_for_a_certificate_is_none_to_us(
    tmp_path: Path,
    reachable: HttpClient,
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
        assert it.events.counts["host_tunnelled"] == (1 if insist else 2)
    server.show(leaf.server_context())


def test_a_registry_that_is_doubted_is_looked_at_again(
    tmp_path: Path, reachable: HttpClient, server: FaultServer, authority: Authority
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
        assert it.events.counts["host_tunnelled"] == 1

    with setting(tmp_path, reachable) as it:
        asyncio.run(scenario(it))
    down = HttpClient(Roots(authority.pem, None), resolve=(Resolve(NAME, 443, "127.0.0.1", 1),))
    with setting(tmp_path, down) as it:
        assert not asyncio.run(it.hosts.is_registry(ORIGIN))
    server.show(leaf.server_context())


def test_a_client_that_names_many_hosts_makes_its_own_forgotten(
    tmp_path: Path, reachable: HttpClient, server: FaultServer, monkeypatch: pytest.MonkeyPatch
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
    tmp_path: Path, reachable: HttpClient, server: FaultServer
) -> None:
    """A host that answered as a registry is not asked again."""

    async def scenario(hosts: RegistryHosts) -> bool:
        await hosts.learn(ORIGIN)
        return await hosts.is_registry(ORIGIN)

    with setting(tmp_path, reachable) as it:
        assert asyncio.run(scenario(it.hosts))
    assert not server.requests

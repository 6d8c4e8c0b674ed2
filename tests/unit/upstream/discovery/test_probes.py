"""What a host is asked, which answers make it a registry, and how many are asked at once."""

import asyncio
import threading
from pathlib import Path

import pytest

from entrepot.config.addresses import Resolve
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.discovery import probes
from entrepot.upstream.discovery.probes import ProbeBounds
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from rig.faults import Content, Exchange, FaultServer, Gate, Handler, error, redirect, status
from rig.hosts import (
    BEARER,
    CLIENT,
    NAME,
    ORIGIN,
    SLOW,
    VERSION,
    Setting,
    Unauthorized,
    setting,
)


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
    reachable: HttpClient,
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
    tmp_path: Path, reachable: HttpClient, server: FaultServer
) -> None:
    """One plain GET, without credentials."""
    with setting(tmp_path, reachable) as it:
        asyncio.run(it.interception.intercepts(ORIGIN, CLIENT))
    (seen,) = server.requests
    assert (seen.method, seen.path, seen.host) == ("GET", "/v2/", NAME)
    assert set(seen.headers) <= {"host", "accept", "accept-encoding", "user-agent"}


def test_a_probe_leaves_its_connection_for_the_client(
    tmp_path: Path, reachable: HttpClient, server: FaultServer
) -> None:
    """The first ping after it needs no handshake."""
    ports = set()

    def challenge(exchange: Exchange) -> None:
        ports.add(exchange._handler.client_address[1])  # noqa: SLF001 the rig hides it
        error(401, "UNAUTHORIZED", "log in", VERSION)(exchange)

    server.routes = {"/v2/": challenge}
    with setting(tmp_path, reachable) as it:
        assert asyncio.run(it.hosts.is_registry(ORIGIN))
        reachable.send("GET", Target(ORIGIN, "/v2/"), (), SendOptions(Follow.NO)).close()
    assert len(ports) == 1


def test_an_untrusted_certificate_is_no_registry(tmp_path: Path, server: FaultServer) -> None:
    """Whoever cannot prove the name is tunnelled."""
    resolve = tuple(Resolve.parse(entry) for entry in server.resolve)
    with setting(tmp_path, HttpClient(Roots(None, None), resolve=resolve)) as it:
        assert not asyncio.run(it.hosts.is_registry(ORIGIN))
    assert not server.requests


@pytest.mark.parametrize(
    ("bounds", "scanner", "answered"),
    [
        (ProbeBounds(client=2, all=9, seconds=0.1), ["a"] * 2, ["b"]),
        (ProbeBounds(client=2, all=3, seconds=0.1), ["a", "a", "b"], []),
    ],
)
def test_probes_are_bounded(
    tmp_path: Path,
    reachable: HttpClient,
    server: FaultServer,
    bounds: ProbeBounds,
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


def test_what_is_kept_on_disk_needs_no_place(tmp_path: Path, reachable: HttpClient) -> None:
    """A registry that was found once is one while all places are taken."""
    with setting(tmp_path, reachable) as it:
        assert asyncio.run(it.hosts.is_registry(ORIGIN))
    with setting(tmp_path, reachable, bounds=ProbeBounds(client=1, all=0, seconds=0.1)) as it:
        assert asyncio.run(it.hosts.is_registry(ORIGIN))


def test_a_body_that_stalls_is_no_registry(
    tmp_path: Path, reachable: HttpClient, server: FaultServer, monkeypatch: pytest.MonkeyPatch
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

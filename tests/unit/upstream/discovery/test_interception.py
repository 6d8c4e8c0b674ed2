"""Which connections are intercepted, for which client."""

import asyncio
from pathlib import Path

import pytest

from entrepot.auth import token_servers
from entrepot.http_client.client import HttpClient
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.discovery.interception import Role
from entrepot.upstream.discovery.tls_fingerprint import UNKNOWN
from entrepot.upstream.discovery.untrusting_clients import REFUSED_SECONDS
from rig.certs import Authority
from rig.faults import FaultServer, Handler, error, status
from rig.hosts import (
    AUTH,
    CLIENT,
    NAME,
    ORIGIN,
    Setting,
    no_http,
    send,
    setting,
)


def test_a_token_server_is_intercepted_for_who_was_sent_there(
    tmp_path: Path, reachable: HttpClient, server: FaultServer
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
    reachable: HttpClient,
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
    reachable: HttpClient,
    server: FaultServer,
    answer: Handler,
    role: Role | None,
) -> None:
    """Whatever it says."""
    server.routes = {"/": answer}
    with setting(tmp_path, reachable) as it:
        assert roles(it, seconds=(0.0,)) == [role]
        assert it.events.counts["host_tunnelled"] == (role is None)
        assert it.events.counts["tunnelled_unfit"] == (role is None)


def test_a_token_server_is_looked_at_once_an_hour(
    tmp_path: Path, reachable: HttpClient, server: FaultServer, authority: Authority
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
    tmp_path: Path, reachable: HttpClient, server: FaultServer, authority: Authority
) -> None:
    """Nobody loses by a look at what cannot be met; and there is a token of ours for them."""
    at = reachable._routing._resolve  # noqa: SLF001 where it leads is all that changes
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


def test_a_host_that_the_authority_may_not_sign_for_is_tunnelled(
    tmp_path: Path, nowhere: HttpClient
) -> None:
    """A constrained authority would only make the client refuse."""
    with setting(tmp_path, nowhere, permit=".example.test") as it:
        assert not asyncio.run(it.interception.intercepts(Origin("https", "ghcr.io", 443), CLIENT))


def test_a_client_that_refuses_us_is_tunnelled_for_ten_minutes(
    tmp_path: Path, nowhere: HttpClient
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


def test_connections_past_the_cache_are_counted_by_their_reason(
    tmp_path: Path, nowhere: HttpClient
) -> None:
    """Those of a registry only: to the client, to the CA."""
    ghcr, quay = (Origin("https", host, 443) for host in ("ghcr.io", "quay.io"))

    async def scenario(it: Setting) -> None:
        assert await it.interception.role(ghcr, CLIENT) is None
        assert not await it.interception.intercepts(ghcr, CLIENT), "which is no connection"
        assert await it.interception.role(quay, CLIENT) is Role.REGISTRY
        assert not it.interception.tunnels(quay, CLIENT, UNKNOWN)
        it.interception.certificate_refused(quay, CLIENT)
        for _ in range(2):
            assert it.interception.tunnels(quay, CLIENT, UNKNOWN)

    with setting(tmp_path, nowhere, permit="quay.io") as it:
        asyncio.run(scenario(it))
        counts = {name: it.events.counts[name] for name in it.events.counts if "tunnel" in name}
    assert counts == {"tunnelled_unpermitted": 1, "tunnelled_untrusting": 2}

"""Which login goes where, and which never does."""

import contextlib
from pathlib import Path

import pytest

from entrepot.config.registry_tables import PasswordFile
from entrepot.http_client.errors import UpstreamError
from entrepot.protocol.account import NOBODY, Account, Login
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.account_auth.logins import AccountLogins
from rig.accounts import (
    ALICE,
    ALICES,
    AUTH,
    CDN,
    EVIL,
    PATH,
    REGISTRY,
    World,
    challenge,
    issuing,
    taking,
)
from rig.client import basic
from rig.faults import Exchange, FaultServer, redirect, status


def test_without_an_account_nothing_is_added(world: World) -> None:
    """A client's own request goes as it is, and its refusal is the client's."""
    world.server.routes[PATH] = challenge()
    assert world.send(None)[0] == 401
    assert world.shown(REGISTRY) == [None]
    assert world.shown(AUTH) == []


def test_a_login_answers_a_basic_challenge(world: World) -> None:
    """It is shown only after the challenge, and from then on at once."""
    refusal = status(401, headers={"WWW-Authenticate": 'Basic realm="r"'})
    world.server.routes[PATH] = taking(ALICES, refusal=refusal)
    assert [world.send(), world.send()] == [(200, b"content")] * 2
    assert world.shown(REGISTRY) == [None, ALICES, ALICES]


def test_a_refused_login_is_left_alone_for_a_minute(world: World) -> None:
    """The client gets the refusal; nobody is locked out by a password that is wrong."""
    world.server.routes[PATH] = status(401, b"no", {"WWW-Authenticate": 'Basic realm="r"'})
    assert [world.send(), world.send()] == [(401, b"no")] * 2
    assert world.shown(REGISTRY) == [None, ALICES, None]
    assert world.events.counts["login_refused"] == 1
    world.now += 60
    assert world.send() == (401, b"no")
    assert world.shown(REGISTRY)[3:] == [None, ALICES]


def test_a_password_that_changed_is_read_again(world: World, tmp_path: Path) -> None:
    """One request finds out, and succeeds; basic or tokens."""
    file = tmp_path / "password"
    file.write_text("looking-glass\n")
    account = Account("alice", source=PasswordFile(file, Login("alice", "wonderland")))
    new = basic("alice", "looking-glass")
    world.server.routes[PATH] = taking(
        new, refusal=status(401, headers={"WWW-Authenticate": "Basic"})
    )
    assert world.send(account) == (200, b"content")
    assert world.shown(REGISTRY) == [None, ALICES, new]
    world.server.reset()
    world.server.routes[PATH] = taking("Bearer a1", refusal=challenge())
    world.server.routes["/token"] = issuing(basic("alice", "third"))
    file.write_text("third")
    assert world.send(account) == (200, b"content")
    assert world.shown(AUTH) == [new, basic("alice", "third")]


def test_nobody_answers_no_basic_challenge(world: World) -> None:
    """There is nothing to show."""
    world.server.routes[PATH] = status(401, headers={"WWW-Authenticate": "Basic"})
    assert world.send(NOBODY)[0] == 401
    assert world.shown(REGISTRY) == [None]


# Where a login never goes


@pytest.mark.parametrize(
    "realm",
    [
        f"https://{EVIL}/token",
        f"https://{REGISTRY}@{EVIL}/token",
        f"https://{EVIL}:443/token?host={REGISTRY}",
        f"https://{EVIL}/https://{AUTH}/token",
        f"https://user:pw@{AUTH}/token",
        f"http://{AUTH}/token",
        f"http://{REGISTRY}/token",
        "https://example.test.evil.test/token",
        "https://127.0.0.1/token",
        "//registry.example.test/token",
        "/token",
        "ftp://auth.example.test/token",
        "",
    ],
)
def test_a_foreign_token_server_never_gets_the_login(
    world: World, plain: FaultServer, realm: str
) -> None:
    """A registry names its token server itself: another domain, plain HTTP, or none at all."""
    world.server.routes[PATH] = challenge(realm)
    world.server.routes["/token"] = plain.routes["/token"] = issuing(ALICES, None)
    try:
        assert world.send()[0] == 401
    except UpstreamError:
        assert "127.0.0.1" in realm or "test.evil" in realm  # where nobody is
    shown = [request.authorization for request in (*world.server.requests, *plain.requests)]
    assert not any("Basic" in (one or "") for one in shown)


def test_withholding_is_said_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """With the registry and the server that it named, in one line."""
    world.server.routes[PATH] = challenge(f"https://{EVIL}/token")
    world.server.routes["/token"] = issuing(None)
    for _ in range(3):
        world.send()
    lines = [line for line in caplog.messages if line.startswith("login_withheld")]
    assert lines == [
        f'login_withheld registry=https://{REGISTRY} reason="its token server is https://{EVIL}"'
    ]


def test_a_named_token_server_gets_the_login(world: World) -> None:
    """`realm=` is the administrator's word for one elsewhere; exactly that one."""
    world.server.routes[PATH] = taking("Bearer a1", refusal=challenge(f"https://{EVIL}/token"))
    world.server.routes["/token"] = issuing(ALICES)
    named = frozenset({Origin("https", EVIL, 443)})
    assert world.send(Account("alice", "wonderland", realms=named)) == (200, b"content")
    assert world.shown(EVIL) == [ALICES]


def test_docker_hub_and_its_token_server_are_one(world: World) -> None:
    """registry-1.docker.io and auth.docker.io, without saying so."""
    logins = AccountLogins(world.events, lambda: world.now)
    hub, auth = (Origin("https", f"{host}.docker.io", 443) for host in ("registry-1", "auth"))
    assert logins.may_see(ALICE, hub, auth)
    assert not logins.may_see(ALICE, hub, Origin("https", "auth.docker.example", 443))


def test_a_token_server_that_redirects_is_not_followed(world: World) -> None:
    """The login does not go on with the redirect, and neither does the proxy."""
    world.server.routes[PATH] = challenge()
    world.server.routes["/token"] = redirect(f"https://{EVIL}/stolen")
    assert world.send()[0] == 401
    assert world.server.of(host=EVIL) == []


@pytest.mark.parametrize("header", ["Basic", f'Bearer realm="https://{CDN}/token"'])
def test_a_challenge_behind_a_redirect_is_not_answered(world: World, header: str) -> None:
    """Whoever a registry redirects to (a host of its own domain too) gets nothing."""
    world.server.routes[PATH] = redirect(f"https://{CDN}/content")
    world.server.routes["/content"] = status(401, headers={"WWW-Authenticate": header})
    world.server.routes["/token"] = issuing(ALICES, None)
    assert world.send()[0] == 401
    assert world.shown(CDN) == [None]
    assert world.server.of(path="/token") == []


def test_a_redirect_takes_neither_login_nor_token_along(world: World) -> None:
    """What the registry took, the content network does not see."""

    def send_on(exchange: Exchange) -> None:
        redirect(f"https://{CDN}/content")(exchange)

    def answer(exchange: Exchange) -> None:
        (send_on if exchange.request.authorization == "Bearer a1" else challenge())(exchange)

    world.server.routes[PATH] = answer
    world.server.routes["/token"] = issuing(ALICES)
    world.server.routes["/content"] = status(200, b"content")
    assert world.send() == (200, b"content")
    assert world.shown(CDN) == [None]


@pytest.mark.parametrize("header", ["Basic", 'Bearer realm="http://127.0.0.1:PORT/token"'])
def test_a_login_goes_over_plain_http_only_where_that_was_said(
    world: World, plain: FaultServer, header: str
) -> None:
    """`[registry."http://host"]` is the administrator's word; any other account is withheld."""
    origin = Origin("http", "127.0.0.1", plain.port)
    sent = {"WWW-Authenticate": header.replace("PORT", str(plain.port))}
    plain.routes[PATH] = taking(ALICES, "Bearer a1", refusal=status(401, headers=sent))
    plain.routes["/token"] = issuing(ALICES)
    assert world.send(ALICE, origin=origin)[0] == 401
    assert ALICES not in [request.authorization for request in plain.requests]
    assert world.events.counts["login_withheld"] == 1
    said = Account("alice", "wonderland", plain=True)
    assert world.send(said, origin=origin) == (200, b"content")


def test_no_secret_is_said(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, no line has the password or a token."""
    for handler in (challenge(), challenge(f"https://{EVIL}/token"), challenge("https://x:1/")):
        world.server.routes[PATH] = handler
        for answer in (issuing(None), status(500, b"wonderland"), status(200, b"{")):
            world.server.routes["/token"] = answer
            with contextlib.suppress(UpstreamError):
                world.send()
    assert "login_refused" in caplog.text
    assert not any(secret in caplog.text for secret in ("wonderland", ALICES[6:], "Bearer n"))

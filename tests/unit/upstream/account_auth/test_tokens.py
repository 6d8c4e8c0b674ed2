"""Tokens of an account: which is used how long, and what is refused."""

import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import pytest

from entrepot.http_client.errors import UpstreamError
from entrepot.protocol.account import NOBODY, Account, Login, LoginKind
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request
from rig.accounts import (
    ALICE,
    ALICES,
    AUTH,
    PATH,
    REGISTRY,
    TOKEN_URL,
    World,
    challenge,
    issuing,
    taking,
)
from rig.client import basic
from rig.faults import Content, Exchange, status


def test_a_token_is_got_with_the_login_and_used_until_it_ends(world: World) -> None:
    """One for a repository: with upstream's service and a scope to pull, until 10 s before."""
    world.server.routes[PATH] = taking("Bearer a1", "Bearer a2", refusal=challenge())
    world.server.routes["/token"] = issuing(ALICES)
    for _ in range(3):
        assert world.send() == (200, b"content")
    world.now += 89
    assert world.send() == (200, b"content")
    assert world.shown(AUTH) == [ALICES]
    world.now += 1
    assert world.send() == (200, b"content")
    assert world.shown(AUTH) == [ALICES, ALICES]
    assert world.asked() == [{"service": ["rig"], "scope": ["repository:acme/app:pull"]}] * 2


@pytest.mark.parametrize(("life", "used"), [(6, 3), (None, 50), (0, 50), (-1, 50)])
def test_a_short_token_is_used_for_half_its_life_at_least(
    world: World, life: int | None, used: int
) -> None:
    """Where the server does not say, it is 60 s."""
    world.server.routes[PATH] = taking("Bearer a1", "Bearer a2", refusal=challenge())
    world.server.routes["/token"] = issuing(ALICES, life=life)
    world.send()
    world.now += used - 0.1
    world.send()
    assert len(world.shown(AUTH)) == 1
    world.now += 0.1
    world.send()
    assert len(world.shown(AUTH)) == 2


def test_a_token_is_for_its_repository_and_account(world: World) -> None:
    """Nothing that one account was given is shown for another, nor for another repository."""
    other = "/v2/acme/other/manifests/1"
    world.server.routes[PATH] = world.server.routes[other] = challenge()
    world.server.routes["/token"] = issuing(ALICES, basic("bob", "builder"), None)
    for account in (ALICE, Account("bob", "builder"), NOBODY):
        world.send(account)
    world.send(ALICE, path=other)
    assert world.shown(AUTH) == [ALICES, basic("bob", "builder"), None, ALICES]
    shown = world.shown(REGISTRY)
    assert shown == [None, "Bearer a1", None, "Bearer a2", None, "Bearer n3", None, "Bearer a4"]


def test_the_scope_that_upstream_names_is_asked_for(world: World) -> None:
    """What a registry calls its repository is its own affair."""
    rest = ',service="s",scope="repository:prefix/acme/app:pull"'
    world.server.routes[PATH] = challenge(TOKEN_URL + "?a=b", rest)
    world.server.routes["/token"] = issuing(ALICES)
    world.send()
    assert world.asked() == [
        {"a": ["b"], "service": ["s"], "scope": ["repository:prefix/acme/app:pull"]}
    ]


def test_a_refused_token_is_renewed_once(world: World) -> None:
    """A registry that takes none gets one new one, and its refusal is the answer."""
    world.server.routes[PATH] = taking("Bearer a1", refusal=challenge())
    world.server.routes["/token"] = issuing(ALICES)
    world.send()
    world.server.routes[PATH] = taking("Bearer a2", refusal=challenge())
    assert world.send() == (200, b"content")
    world.server.routes[PATH] = challenge()
    assert world.send()[0] == 401
    assert world.shown(REGISTRY)[2:] == ["Bearer a1", "Bearer a2", "Bearer a2", "Bearer a3"]
    assert len(world.shown(AUTH)) == 3


def test_one_asks_for_all_who_ask_at_once(world: World) -> None:
    """However many threads are refused together, one token is asked for."""
    most = 12
    together, issue = threading.Barrier(most), issuing(ALICES)

    def refuse(exchange: Exchange) -> None:
        together.wait(10)  # until all have been challenged
        challenge()(exchange)

    world.server.routes[PATH] = taking("Bearer a1", refusal=refuse)
    world.server.routes["/token"] = issue
    with ThreadPoolExecutor(most) as pool:
        assert set(pool.map(lambda _: world.send(), range(most))) == {(200, b"content")}
    assert len(world.shown(AUTH)) == 1


def test_a_failing_token_server_fails_for_all_who_wait(world: World) -> None:
    """Its failure is upstream's, which outage and patience know what to do with."""
    world.server.routes[PATH] = challenge()
    for code in (500, 503, 429):
        world.server.routes["/token"] = status(code)
        with pytest.raises(UpstreamError, match=f"{AUTH}: it answered {code}") as raised:
            world.send()
        assert raised.value.passing
    assert world.account_auth.tokens.take_answered() == {Origin("https", AUTH, 443)}
    assert world.account_auth.tokens.take_answered() == set()


def test_who_waits_for_anothers_token_does_not_wait_for_ever(world: World) -> None:
    """Each has a deadline of its own, whoever's request it is that hangs."""
    silent = threading.Event()
    world.server.routes[PATH] = challenge()
    world.server.routes["/token"] = Content(b"", wait=silent)
    try:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(world.send, seconds=30)
            world.server.await_request(path="/token")
            with pytest.raises(UpstreamError, match="its token server gave no answer in time"):
                world.send(seconds=0.2)
            silent.set()
            assert first.result() == (401, b"")
    finally:
        silent.set()


def test_a_token_may_not_drip(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it takes to know what to show has one deadline."""
    monkeypatch.setattr("entrepot.upstream.account_auth.tokens._BODY_SECONDS", 0.3)
    ended = threading.Event()

    def drip(exchange: Exchange) -> None:
        exchange.start(200, {"Content-Length": "1000"})
        try:
            while not ended.wait(0.05):
                exchange.write(b" ")
        except OSError:
            exchange.cut()

    world.server.routes[PATH] = challenge()
    world.server.routes["/token"] = drip
    try:
        with pytest.raises(UpstreamError, match=f"{AUTH}: it stopped answering"):
            world.send()
    finally:
        ended.set()


def test_a_silent_token_server_is_named(world: World) -> None:
    """So that the breaker knows whom not to ask, before anybody waits for it again."""
    silent = threading.Event()
    world.server.routes[PATH] = challenge()
    world.server.routes["/token"] = Content(b"", wait=silent)
    request = Request("GET", Origin("https", REGISTRY, 443), PATH, account=ALICE)
    assert world.account_auth.server_needed(request) is None
    try:
        with pytest.raises(UpstreamError) as raised:
            world.send(seconds=0.2)
    finally:
        silent.set()
    assert raised.value.silent == Origin("https", AUTH, 443)
    assert world.account_auth.server_needed(request) == Origin("https", AUTH, 443)
    world.server.routes["/token"] = issuing(ALICES)
    world.send()
    assert world.account_auth.server_needed(request) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 1}',
        b'{"token": "a\\r\\nHost: b"}',
        b'{"token": "\\u00e9"}',
        b"\xff",
        b"x" * 100_000,
    ],
)
def test_junk_for_a_token_is_none(world: World, answer: bytes) -> None:
    """The registry's refusal is the answer then."""
    world.server.routes[PATH] = challenge()
    world.server.routes["/token"] = status(200, answer)
    assert world.send()[0] == 401
    assert world.shown(REGISTRY) == [None]


def test_an_identity_token_is_traded_for_a_token(world: World) -> None:
    """By POST of a form (OAuth2), never as a password."""
    forms: list[bytes] = []

    def trade(exchange: Exchange) -> None:
        forms.append(exchange.read_body())
        exchange.send(200, b'{"access_token": "a1", "refresh_token": "other"}')

    world.server.routes[PATH] = taking("Bearer a1", refusal=challenge())
    world.server.routes["/token"] = trade
    login = Login("<token>", "identity", LoginKind.IDENTITY)
    assert world.send(Account("alice", source=lambda _refused: login)) == (200, b"content")
    assert world.server.requests[1].method == "POST"
    assert world.shown(AUTH) == [None]
    assert parse_qs(forms[0].decode()) == {
        "grant_type": ["refresh_token"],
        "client_id": ["entrepot"],
        "refresh_token": ["identity"],
        "service": ["rig"],
        "scope": ["repository:acme/app:pull"],
    }


def test_a_token_for_the_registry_is_shown_as_it_is(world: World) -> None:
    """And not to the token server, unless it was refused: then it is asked for a public one."""
    account = Account("a", source=lambda _refused: Login("", "ready", LoginKind.BEARER))
    world.server.routes[PATH] = taking("Bearer ready", refusal=challenge())
    assert world.send(account) == (200, b"content")
    assert world.shown(AUTH) == []
    world.server.routes[PATH] = taking("Bearer n1", refusal=challenge())
    world.server.routes["/token"] = issuing(None)
    assert world.send(account) == (200, b"content")
    assert world.shown(AUTH) == [None]


@pytest.mark.parametrize("refusal", [401, 403, 400])
def test_who_is_refused_a_token_gets_what_anybody_may(world: World, refusal: int) -> None:
    """A wrong password takes public images from nobody; it is shown once in a minute."""
    world.server.routes[PATH] = taking("Bearer n1", "Bearer n2", refusal=challenge())
    world.server.routes["/token"] = issuing(None, refusal=refusal)
    assert world.send() == (200, b"content")
    assert world.shown(AUTH) == [ALICES, None]
    world.now += 50
    world.server.routes[PATH] = taking("Bearer n2", refusal=challenge())
    assert world.send() == (200, b"content")
    assert world.shown(AUTH) == [ALICES, None, None]
    assert world.events.counts["login_refused"] == 1


def test_a_login_that_a_token_server_refuses_is_not_tried_for_other_repositories(
    world: World,
) -> None:
    """401 is about the password; 403 may be about the repository."""
    for number, (refusal, expected) in enumerate([(401, 1), (403, 3)]):
        world.server.reset()
        account = Account(f"alice{number}", "wrong")
        for name in "abc":
            world.server.routes[f"/v2/{name}/manifests/1"] = challenge()
        world.server.routes["/token"] = issuing(None, refusal=refusal)
        for name in "abc":
            world.send(account, path=f"/v2/{name}/manifests/1")
        wrong = basic(account.username, "wrong")
        assert world.shown(AUTH).count(wrong) == expected


def test_an_account_without_a_login_is_nobody(world: World) -> None:
    """A credential helper that fails: public images go on."""
    account = Account("helper", source=lambda _refused: None)
    world.server.routes[PATH] = taking("Bearer n1", refusal=challenge())
    world.server.routes["/token"] = issuing(None)
    assert world.send(account) == (200, b"content")
    world.server.reset()
    world.server.routes[PATH] = status(401, headers={"WWW-Authenticate": "Basic"})
    world.now += 1000
    assert world.send(account)[0] == 401
    assert world.shown(AUTH) == []

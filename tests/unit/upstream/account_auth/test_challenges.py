"""Asking as an account: which login goes where, which token is used how long, what is refused.

One server with TLS plays every host; what it was asked is on its record by host and path.
"""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from entrepot.config.addresses import Resolve
from entrepot.config.registry_tables import PasswordFile
from entrepot.events import Events
from entrepot.http_client.client import Follow, Upstream
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.response import Reply, Target, UpstreamError
from entrepot.protocol.credential import NOBODY, Account, Kind, Login
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields, Request
from entrepot.upstream.account_auth.challenges import AccountAuth
from entrepot.upstream.account_auth.logins import AccountLogins
from rig.certs import Authority
from rig.client import basic
from rig.faults import Content, Exchange, FaultServer, Handler, redirect, status

REGISTRY, AUTH = "registry.example.test", "auth.example.test"
CDN, EVIL = "cdn.example.test", "registry.evil.test"
HOSTS = (REGISTRY, AUTH, CDN, EVIL)
PATH = "/v2/acme/app/manifests/1"
ALICE = Account("alice", "wonderland")
ALICES = basic("alice", "wonderland")
TOKEN_URL = f"https://{AUTH}/token"


def challenge(realm: str = TOKEN_URL, rest: str = ',service="rig"') -> Handler:
    return status(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"{rest}'})


def taking(*taken: str, refusal: Handler) -> Handler:
    """A registry that serves to who shows one of these, and answers the others so."""

    def answer(exchange: Exchange) -> None:
        good = exchange.request.authorization in taken
        (status(200, b"content") if good else refusal)(exchange)

    return answer


def issuing(*logins: str | None, life: int | None = 100, refusal: int = 401) -> Handler:
    """A token server: a token with a number for each of these, the others are refused."""
    numbers = iter(range(1, 1000))

    def answer(exchange: Exchange) -> None:
        if exchange.request.authorization not in logins:
            exchange.send(refusal)
            return
        whose = "a" if exchange.request.authorization else "n"
        seconds = "" if life is None else f',"expires_in":{life}'
        exchange.send(200, f'{{"token":"{whose}{next(numbers)}"{seconds}}}'.encode())

    return answer


@dataclass
class World:
    """A signer in front of the server."""

    server: FaultServer
    upstream: Upstream
    events: Events = field(default_factory=Events)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.account_auth = AccountAuth(self.upstream, self.events, lambda: self.now)

    def send(
        self,
        account: Account | None = ALICE,
        *,
        path: str = PATH,
        origin: Origin | None = None,
        seconds: float | None = None,
    ) -> tuple[int, bytes]:
        """What the registry answers in the end."""
        origin = origin or Origin("https", REGISTRY, 443)
        request = Request("GET", origin, path, account=account)

        def send(fields: Fields) -> Reply:
            return self.upstream.send("GET", Target(origin, path), fields, follow=Follow.ANY)

        with self.account_auth.send(request, (("Accept", "a/b"),), send, seconds=seconds) as reply:
            return reply.status, reply.read_all(1000)

    def shown(self, host: str) -> list[str | None]:
        """The Authorization of every request that a host got."""
        return [request.authorization for request in self.server.of(host=host)]

    def asked(self) -> list[dict[str, list[str]]]:
        """The queries of every request for a token."""
        return [parse_qs(request.query) for request in self.server.of(path="/token")]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[FaultServer]:
    server = FaultServer(authority, *HOSTS)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def plain() -> Iterator[FaultServer]:
    server = FaultServer(None)
    yield server
    server.stop()


@pytest.fixture
def world(authority: Authority, secure: FaultServer, plain: FaultServer) -> Iterator[World]:
    secure.reset()
    plain.reset()
    resolve = (
        *(Resolve.parse(line) for line in secure.resolve),
        *(Resolve(name, 80, "127.0.0.1", plain.port) for name in HOSTS),
    )
    upstream = Upstream(Roots(authority.pem, None), resolve=resolve, read_seconds=10)
    yield World(secure, upstream)
    upstream.close()


# Logins


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


# Tokens


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
    login = Login("<token>", "identity", Kind.IDENTITY)
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
    account = Account("a", source=lambda _refused: Login("", "ready", Kind.BEARER))
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
        f'login_withheld host=https://{REGISTRY} reason="its token server is https://{EVIL}"'
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

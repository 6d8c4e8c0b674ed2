"""Pings and token requests: what reaches upstream, what comes back, what is remembered of it."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

import pytest

from entrepot.auth.accounts import Accounts
from entrepot.auth.grants import Access
from entrepot.auth.token_servers import Realms
from entrepot.endpoints import ping_and_token as rules
from entrepot.endpoints.account_requests import Behalf
from entrepot.endpoints.ping_and_token import LARGEST_FORM, REMEMBERED_SECONDS, Logins
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Answer, Fields, Request, field_values
from entrepot.protocol.routes import parse_endpoint
from entrepot.pull.stale import Outage
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.interception import Interception
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from rig.faults import Content, Exchange, FaultServer, Handler, first, redirect, status

VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
BASIC = {"WWW-Authenticate": 'Basic realm="registry"'}
REFUSAL = b'{"errors": [{"code": "UNAUTHORIZED"}]}'
CHALLENGE = status(401, REFUSAL, {**BASIC, **VERSION})
OPEN = status(200, b"{}", VERSION)
ALICE = ("Authorization", "Basic alice")
ASKED, HIT = "fwd=bypass; detail=ping", "hit; detail=ping"


@dataclass(frozen=True, slots=True)
class Got:
    """An answer, read to its end."""

    status: int
    headers: Fields
    body: bytes

    def values(self, name: str) -> list[str]:
        return field_values(self.headers, name)

    @property
    def how(self) -> str:
        return self.values("Cache-Status")[0].removeprefix("entrepot; ")


@dataclass
class World:
    """Logins in front of one server, which is registry and token server."""

    server: FaultServer
    logins: Logins = field(init=False)
    hosts: RegistryHosts = field(init=False)
    access: Access = field(default_factory=lambda: Access(b"secret"))
    realms: Realms = field(default_factory=Realms)
    events: Events = field(default_factory=Events)
    now: float = 1e9
    step: float = 0.0
    """By how much the clock goes on when it is read."""

    def clock(self) -> float:
        self.now += self.step
        return self.now

    def request(
        self, target: str, *fields: tuple[str, str], method: str = "GET", host: str = "127.0.0.1"
    ) -> Request:
        path, _, query = target.partition("?")
        return Request(method, Origin("http", host, self.server.port), path, query, tuple(fields))

    async def ask(
        self,
        target: str,
        *fields: tuple[str, str],
        method: str = "GET",
        host: str = "127.0.0.1",
        content: bytes = b"",
    ) -> Answer:
        """The answer to a client."""
        request = self.request(target, *fields, method=method, host=host)
        return await self.logins.handle(request, content)

    async def get(self, target: str, *fields: tuple[str, str], method: str = "GET") -> Got:
        """The answer to a client, read to its end."""
        return await read(await self.ask(target, *fields, method=method))

    async def challenge(self) -> None:
        """Let the proxy see where this registry has its tokens."""
        realm = f'Bearer realm="http://127.0.0.1:{self.server.port}/token",service="rig"'
        self.logins.challenged(Origin("http", "127.0.0.1", self.server.port), [realm], ())

    def is_anonymous(self, token: str) -> tuple[bool, float | None]:
        """Whether a token counts as nobody's, and when it ends."""
        bearer = ("Authorization", f"Bearer {token}")
        who = self.access.credentials.of(self.request("/v2/a/manifests/1", bearer))
        return who.anonymous, who.expires


async def read(answer: Answer) -> Got:
    if isinstance(answer.content, bytes):
        return Got(answer.status, answer.headers, answer.content)
    body = b""
    while piece := await answer.content.read():
        body += piece
    answer.close()
    return Got(answer.status, answer.headers, body)


Scenario = Callable[[World], Awaitable[None]]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FaultServer]:
    server = FaultServer(None)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with closing(Store(tmp_path_factory.mktemp("store") / "data", 10**7)) as store:
        yield store


@pytest.fixture
def server(shared_server: FaultServer) -> FaultServer:
    shared_server.reset()
    shared_server.routes["/v2/"] = CHALLENGE
    return shared_server


@pytest.fixture
def run(store: Store, server: FaultServer) -> Callable[[Scenario], None]:
    """Runs a scenario in a world of its own, on an event loop of its own."""

    async def main(scenario: Scenario) -> None:
        world = World(server)
        upstream = HttpClient(Roots(None, None), read_seconds=10)
        context = Context.make(store, upstream, world.access, world.events, world.clock)
        with closing(context):
            world.hosts, realms = RegistryHosts(context), world.realms
            interception = Interception(context, realms, world.hosts)
            behalf = Behalf(context, Accounts(), realms, interception)
            world.logins = Logins(context, realms, world.hosts, Outage(context), behalf)
            await scenario(world)

    return lambda scenario: asyncio.run(main(scenario))


Run = Callable[[Scenario], None]


def raw(answer: bytes, *, cut: bool = True) -> Handler:
    """A handler that writes exactly these bytes."""

    def write(exchange: Exchange) -> None:
        exchange.write(answer)
        if cut:
            exchange.cut(reset=False)

    return write


# What is remembered of pings


@pytest.mark.parametrize("handler", [CHALLENGE, OPEN], ids=["challenge", "open"])
def test_what_a_registry_says_to_anybody_is_asked_once(run: Run, handler: Handler) -> None:
    """The second client is answered from memory: the same status, challenge and body."""

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = handler
        one = await world.get("/v2/", ("User-Agent", "docker"), ("Accept-Encoding", "gzip"))
        world.now += 7
        other = await world.get("/v2/", ("User-Agent", "podman"))
        assert (one.how, other.how) == (ASKED, HIT)
        assert (one.status, one.body) == (other.status, other.body)
        for name in ("WWW-Authenticate", "Docker-Distribution-Api-Version", "Content-Length"):
            assert one.values(name) == other.values(name)
        assert other.values("Age") == ["7"]
        assert len(world.server.requests) == 1
        assert (world.events.counts["ping_hits"], world.events.counts["upstream_requests"]) == (
            1,
            1,
        )

    run(scenario)


def test_a_chunked_challenge_and_one_of_http_1_0_are_remembered(run: Run) -> None:
    """However the end of its body is told, and after a 100 that nobody asked for."""

    async def scenario(world: World) -> None:
        head = b'401 Unauthorized\r\nWWW-Authenticate: Basic realm="r"\r\n'
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
        for host, answer in (
            ("127.0.0.1", b"HTTP/1.0 " + head + b"\r\nno"),
            ("localhost", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 " + chunked),
        ):
            world.server.requests.clear()
            world.server.routes["/v2/"] = raw(answer)
            for how in (ASKED, HIT):
                got = await read(await world.ask("/v2/", host=host))
                assert (got.status, got.body, got.how) == (401, b"no", how)
                assert got.values("Content-Length") == ["2"]
            assert len(world.server.requests) == 1

    run(scenario)


@pytest.mark.parametrize(
    ("target", "method", "fields"),
    [
        ("/v2/", "GET", (ALICE,)),
        ("/v2/", "GET", (("authorization", ""),)),
        ("/v2/", "GET", (("Cookie", "sid=1"),)),
        ("/v2/", "GET", (("X-Api-Key", "1"),)),
        ("/v2/", "GET", (("Cache-Control", "no-cache"),)),
        ("/v2/", "GET", (("If-None-Match", "*"),)),
        ("/v2/", "GET", (("Range", "bytes=0-1"),)),
        ("/v2/", "GET", (("Origin", "https://ui.example.test"),)),
        ("/v2/", "HEAD", ()),
        ("/v2/?ns=other", "GET", ()),
        ("/v2", "GET", ()),
    ],
)
def test_whoever_says_more_gets_an_answer_of_its_own(
    run: Run, target: str, method: str, fields: Fields
) -> None:
    """Who shows itself, or asks for something special, is answered by upstream each time."""

    async def scenario(world: World) -> None:
        world.server.routes["/v2"] = CHALLENGE
        await world.get("/v2/")
        assert (await world.get("/v2/")).how == HIT
        world.server.requests.clear()
        for _ in range(2):
            got = await world.get(target, *fields, method=method)
            assert (got.status, got.how) == (401, ASKED)
        assert [(seen.method, seen.query) for seen in world.server.requests] == [
            (method, target.partition("?")[2])
        ] * 2
        sent = world.server.requests[0].headers
        assert {name: sent[name.lower()] for name, _ in fields} == dict(fields)

    run(scenario)


def test_what_was_said_to_somebody_is_said_to_nobody_else(run: Run) -> None:
    """An answer to a login is never remembered, whatever it is."""

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = first(1, OPEN, CHALLENGE)
        assert (await world.get("/v2/", ALICE)).status == 200
        assert (await world.get("/v2/")).status == 401

    run(scenario)


def test_the_memory_ends(run: Run) -> None:
    """After five minutes the registry is asked again."""

    async def scenario(world: World) -> None:
        for seconds, how in ((0, ASKED), (REMEMBERED_SECONDS - 1, HIT), (1, ASKED), (1, HIT)):
            world.now += seconds
            assert (await world.get("/v2/")).how == how

    run(scenario)


@pytest.mark.parametrize(
    "handler",
    [
        status(401, REFUSAL),
        status(401, REFUSAL, {"WWW-Authenticate": 'Digest realm="r",nonce="once"'}),
        status(401, REFUSAL, {"WWW-Authenticate": "Negotiate"}),
        status(401, REFUSAL, {**BASIC, "Cache-Control": "private, No-Store"}),
        status(401, b"\x1f\x8b", {**BASIC, "Content-Encoding": "gzip"}),
        status(401, bytes(100_000), BASIC),
        status(401, bytes(1_000_000), BASIC),
        status(200, b"<p>log in to the wireless network</p>"),
        status(403, REFUSAL, VERSION),
        status(501, b"", VERSION),
        redirect("/v2/elsewhere"),
    ],
)
def test_anything_else_is_passed_on_and_forgotten(run: Run, handler: Handler) -> None:
    """What is not known to be the same for all is upstream's answer each time, as it came."""

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = handler
        answers = [await world.get("/v2/") for _ in range(2)]
        assert len(world.server.requests) == 2
        assert {answer.how for answer in answers} == {ASKED}
        one, other = ([p for p in answer.headers if p[0] != "Date"] for answer in answers)
        assert one == other
        assert answers[0].body == answers[1].body
        assert len(answers[0].body) == int(answers[0].values("Content-Length")[0])

    run(scenario)


@pytest.mark.parametrize(
    ("before", "fields", "now", "forgotten"),
    [
        (CHALLENGE, (("Pragma", "no-cache"),), OPEN, True),
        (CHALLENGE, (("Pragma", "no-cache"),), status(501), True),
        (CHALLENGE, (ALICE,), status(401, b"", {"WWW-Authenticate": 'Basic realm="new"'}), True),
        (OPEN, (ALICE,), CHALLENGE, True),
        (CHALLENGE, (ALICE,), OPEN, False),
        (CHALLENGE, (ALICE,), status(403), False),
        (CHALLENGE, (ALICE,), CHALLENGE, False),
        (CHALLENGE, (("Pragma", "no-cache"),), CHALLENGE, False),
    ],
)
def test_an_answer_that_says_something_else_ends_the_memory(
    run: Run,
    before: Handler,
    fields: Fields,
    now: Handler,
    forgotten: bool,  # noqa: FBT001 a column of the table
) -> None:
    """What a login is told says nothing of what anybody is told, but for another challenge."""

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = first(1, before, now)
        await world.get("/v2/")
        await world.get("/v2/", *fields)
        assert (await world.get("/v2/")).how == (ASKED if forgotten else HIT)

    run(scenario)


def test_a_challenge_for_content_ends_an_open_door(run: Run) -> None:
    """Docker learns of tokens by the ping alone: one that says «open» must not outlive a 401."""

    async def scenario(world: World) -> None:
        origin = Origin("http", "127.0.0.1", world.server.port)
        world.server.routes["/v2/"] = OPEN
        await world.get("/v2/")
        world.logins.challenged(origin, ['Basic realm="registry"'], ())
        assert (await world.get("/v2/")).how == ASKED
        world.server.routes["/v2/"] = CHALLENGE
        await world.get("/v2/", ("Pragma", "no-cache"))
        await world.get("/v2/")
        world.logins.challenged(origin, ['Basic realm="registry"'], ())
        assert (await world.get("/v2/")).how == HIT

    run(scenario)


def test_the_memory_is_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry that was asked longest ago goes first."""
    monkeypatch.setattr(rules, "_MOST_REMEMBERED", 1)

    async def scenario(world: World) -> None:
        for host in ("127.0.0.1", "localhost", "127.0.0.1", "127.0.0.1"):
            await world.ask("/v2/", host=host)
        hosts = [seen.host.partition(":")[0] for seen in world.server.requests]
        assert hosts == ["127.0.0.1", "localhost", "127.0.0.1"]

    run(scenario)


def test_many_at_once_ask_once(run: Run) -> None:
    """All who ping while upstream is asked wait for that answer; a cookie is the first one's."""

    async def scenario(world: World) -> None:
        wait = threading.Event()
        headers = {**BASIC, "Set-Cookie": "sid=1"}

        def slow(exchange: Exchange) -> None:
            assert wait.wait(10)
            status(401, REFUSAL, headers)(exchange)

        world.server.routes["/v2/"] = slow
        asking = [asyncio.ensure_future(world.get("/v2/")) for _ in range(10)]
        await asyncio.to_thread(world.server.await_request, path="/v2/")
        wait.set()
        got = await asyncio.gather(*asking)
        assert len(world.server.requests) == 1
        assert {(answer.status, answer.body) for answer in got} == {(401, REFUSAL)}
        assert sorted(answer.how for answer in got) == [ASKED] + [HIT] * 9
        assert [answer.values("Set-Cookie") for answer in got if answer.how == HIT] == [[]] * 9
        assert [answer.values("Set-Cookie") for answer in got if answer.how == ASKED] == [["sid=1"]]

    run(scenario)


def test_an_unreachable_registry_is_a_clear_error(run: Run) -> None:
    """Where a connection breaks off a login is a 502 in a registry's words; not remembered."""

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = first(1, raw(b""), CHALLENGE)
        got = await world.get("/v2/", ALICE)
        (error,) = json.loads(got.body)["errors"]
        assert (got.status, error["code"]) == (502, "UNAVAILABLE")
        assert error["message"].endswith("the connection broke off")
        assert (await world.get("/v2/")).status == 401
        assert world.events.counts["upstream_failed"] == 1

    run(scenario)


def test_a_name_that_does_not_resolve_is_a_clear_error(run: Run) -> None:
    """The same where no server is found at all."""

    async def scenario(world: World) -> None:
        got = await read(await world.ask("/v2/", ALICE, host="nothing.invalid"))
        assert (got.status, b"its name does not resolve" in got.body) == (502, True)

    run(scenario)


def test_every_field_comes_back_as_it_was_sent(run: Run) -> None:
    """Fields that come several times too; those of the connection alone do not."""

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = raw(
            b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
            b'WWW-Authenticate: Bearer realm="https://a"\r\nWWW-Authenticate: Basic realm="b"\r\n'
            b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nDocker-X: y\r\n\r\n"
        )
        got = await world.get("/v2/", ALICE)
        assert got.values("WWW-Authenticate") == ['Bearer realm="https://a"', 'Basic realm="b"']
        assert got.values("Set-Cookie") == ["a=1", "b=2"]
        assert (got.values("Docker-X"), got.values("X-Hop")) == (["y"], [])
        assert got.values("Connection") == []

    run(scenario)


@pytest.mark.parametrize("fields", [(), (ALICE,)], ids=["anybody", "alice"])
def test_a_body_without_an_end_streams(run: Run, fields: Fields) -> None:
    """Promise 6: what does not end is passed on piece by piece, until the client leaves."""
    left = threading.Event()

    def endless(exchange: Exchange) -> None:
        exchange.start(401, BASIC)
        try:
            while True:
                exchange.write(bytes(65536))
        finally:
            left.set()

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = endless
        answer = await world.ask("/v2/", *fields)
        assert not isinstance(answer.content, bytes)
        assert answer.content.size is None
        read = 0
        while read < 2_000_000:
            read += len(await answer.content.read())
        answer.close()
        assert await asyncio.to_thread(left.wait, 10)

    run(scenario)


def test_a_body_that_dawdles_streams(run: Run) -> None:
    """Nobody waits for the end of a small body that does not come: what came is passed on."""
    come = threading.Event()

    def dawdle(exchange: Exchange) -> None:
        exchange.start(401, BASIC)
        exchange.write(bytes(10))
        assert come.wait(10)
        exchange.write(bytes(90))
        exchange.finish()

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = dawdle
        world.step = 6
        answer = await world.ask("/v2/")
        come.set()
        assert (await read(answer)).body == bytes(100)
        world.step = 0
        assert (await world.get("/v2/")).how == ASKED

    run(scenario)


def test_every_answer_leaves_its_connection_for_the_next(run: Run) -> None:
    """Whatever its status, and however the end of its body is told: one connection serves all."""
    ports = set()

    def noting(handler: Handler) -> Handler:
        def noted(exchange: Exchange) -> None:
            ports.add(exchange._handler.client_address[1])  # noqa: SLF001 the rig hides it
            handler(exchange)

        return noted

    def chunked(exchange: Exchange) -> None:
        exchange.start(401, BASIC)
        exchange.write(REFUSAL if exchange.request.method == "GET" else b"")
        exchange.finish()

    async def scenario(world: World) -> None:
        await world.challenge()
        token = json.dumps({"token": "t-1"}).encode()
        for handler in (
            CHALLENGE,
            chunked,
            OPEN,
            status(204),
            status(302, b"over there", {"Location": "/elsewhere"}),
            Content(token),
            Content(token, chunked=True),
            status(500, bytes(100_000)),
        ):
            for target, method in (("/v2/", "GET"), ("/v2/", "HEAD"), ("/token", "GET")):
                world.server.routes[target] = noting(handler)
                assert (await world.get(target, ALICE, method=method)).status != 502
        assert len(world.server.requests) == 24

    run(scenario)
    assert len(ports) == 1


def test_a_ping_makes_a_registry_known(run: Run) -> None:
    """Who answers it as a registry does is one; its realm is a token server."""
    unknown = FaultServer(None)

    async def scenario(world: World) -> None:
        world.server = unknown
        origin = Origin("http", "127.0.0.1", unknown.port)
        realm = f'Bearer realm="http://127.0.0.1:{unknown.port}/token"'
        unknown.routes["/v2/"] = status(200, b"", VERSION)
        await world.get("/v2/", ALICE)
        unknown.routes["/v2/"] = status(401, b"", {"WWW-Authenticate": realm})
        assert await world.hosts.is_registry(origin)
        assert not world.realms.has(origin, "/token")
        await world.get("/v2/", ALICE)
        assert world.realms.has(origin, "/token")

    try:
        run(scenario)
    finally:
        unknown.stop()


# Tokens


def issue(document: dict[str, object]) -> Handler:
    return status(200, json.dumps(document).encode(), {"Content-Type": "application/json"})


@pytest.mark.parametrize("chunked", [False, True])
def test_a_token_for_nobody_is_anonymous(
    run: Run,
    chunked: bool,  # noqa: FBT001 a column of the table
) -> None:
    """It counts from when it was asked for, and is known before the client has it."""

    async def scenario(world: World) -> None:
        await world.challenge()
        body = json.dumps({"token": "t-1", "expires_in": 90}).encode()
        world.server.routes["/token"] = Content(body, chunked=chunked)
        began = world.now
        answer = await world.ask("/token?service=rig&scope=a")
        assert world.is_anonymous("t-1") == (True, began + 90)
        got = await read(answer)
        assert (got.status, got.body, got.how) == (200, body, "fwd=bypass; detail=token")
        assert got.values("Content-Length") == [str(len(body))]
        (seen,) = world.server.requests
        assert (seen.query, seen.headers["accept-encoding"]) == ("service=rig&scope=a", "identity")

    run(scenario)


def test_a_token_for_a_login_is_its_own(run: Run) -> None:
    """By Basic, and by a form, which reaches the token server as it was sent."""

    async def scenario(world: World) -> None:
        await world.challenge()
        world.server.routes["/token"] = issue({"token": "t-1"})
        await world.get("/token?service=rig", ALICE)
        assert world.is_anonymous("t-1")[0] is False
        received = []

        def form(exchange: Exchange) -> None:
            received.append(exchange.read_body())
            issue({"access_token": "t-2", "expires_in": 300})(exchange)

        world.server.routes["/token"] = form
        kind = ("Content-Type", "application/x-www-form-urlencoded")
        content = b"grant_type=password&username=alice&password=wonderland"
        answer = await world.ask(
            "/token", kind, ("Content-Length", "54"), method="POST", content=content
        )
        assert (await read(answer)).status == 200
        assert world.is_anonymous("t-2") == (False, world.now + 300)
        assert received == [content]
        assert world.server.requests[-1].headers["content-type"] == kind[1]
        assert world.server.requests[-1].headers["content-length"] == "54"

    run(scenario)


def test_tokens_are_never_remembered(run: Run) -> None:
    """Each request for one is upstream's to answer, those of nobody too."""

    async def scenario(world: World) -> None:
        await world.challenge()
        world.server.routes["/token"] = first(1, issue({"token": "t-1"}), issue({"token": "t-2"}))
        bodies = [json.loads((await world.get("/token?service=rig")).body) for _ in range(2)]
        assert bodies == [{"token": "t-1"}, {"token": "t-2"}]

    run(scenario)


@pytest.mark.parametrize(
    "handler",
    [
        status(401, REFUSAL, BASIC),
        status(404),
        status(501, b"x" * 100_000),
        redirect("/elsewhere", 302),
        status(200, b"no json"),
        Content(b'{"token": "t-1", "pad": "' + b"x" * 100_000 + b'"}'),
        Content(b'{"token": "t-1", "pad": "' + b"x" * 100_000 + b'"}', chunked=True),
    ],
)
def test_what_is_no_token_is_passed_on(run: Run, handler: Handler) -> None:
    """Refusals, redirects and what is too large to be one come back whole; nothing is learnt."""

    async def scenario(world: World) -> None:
        await world.challenge()
        world.server.routes |= {"/token": handler, "/direct": handler}
        direct = await world.get("/direct", ALICE)
        got = await world.get("/token?service=rig")
        assert (got.status, got.body) == (direct.status, direct.body)
        assert got.values("Location") == direct.values("Location")
        assert world.is_anonymous("t-1") == (False, None)
        assert [seen.path for seen in world.server.requests] == ["/direct", "/token"]

    run(scenario)


@pytest.mark.parametrize(
    ("method", "target", "fields", "size", "taken"),
    [
        ("GET", "/v2/", (), 0, True),
        ("HEAD", "/v2/", (), 0, True),
        ("GET", "/v2", (), 0, True),
        ("GET", "/v2/", (), 5, False),
        ("GET", "/v2/", (), None, False),
        ("POST", "/v2/", (), 0, False),
        ("GET", "/v2/a/tags/list", (), 0, False),
        ("GET", "/token", (), 0, True),
        ("HEAD", "/token", (), 0, True),
        ("GET", "/token", (), 5, False),
        ("POST", "/token", (), 0, True),
        ("POST", "/token", (), LARGEST_FORM, True),
        ("POST", "/token", (), LARGEST_FORM + 1, False),
        ("POST", "/token", (), None, False),
        ("POST", "/token", (("Expect", "100-continue"),), 10, False),
        ("PUT", "/token", (), 0, False),
        ("GET", "/login", (), 0, False),
    ],
)
def test_pings_and_small_forms_for_tokens_are_taken(
    run: Run,
    method: str,
    target: str,
    fields: Fields,
    size: int | None,
    taken: bool,  # noqa: FBT001 a column of the table
) -> None:
    """Everything else passes through, streamed."""

    async def scenario(world: World) -> None:
        await world.challenge()
        request = world.request(target, *fields, method=method)
        endpoint = parse_endpoint(method, target, "")
        assert world.logins.takes(request, endpoint, size) is taken

    run(scenario)


# Away


LOCALLY = "hit; detail=offline"


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_clients_go_on_without_a_token_for_a_minute(run: Run, code: int) -> None:
    """However many ping meanwhile: that minute is not begun anew."""

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = status(code)
        assert (await world.get("/v2/")).how == LOCALLY
        world.server.routes["/v2/"] = CHALLENGE
        world.server.requests.clear()
        seen = []
        for _ in range(3):
            world.now += 25
            got = await world.get("/v2/")
            seen.append((got.status, len(world.server.requests)))
        assert seen == [(200, 0), (200, 0), (401, 1)]

    run(scenario)


def test_who_needs_no_token_is_not_told_to_go_without(run: Run) -> None:
    """An open registry is asked again as soon as it answers."""

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = OPEN
        await world.get("/v2/")
        world.now += REMEMBERED_SECONDS
        world.server.routes["/v2/"] = status(503)
        assert (await world.get("/v2/")).how == LOCALLY
        world.server.routes["/v2/"] = OPEN
        assert (await world.get("/v2/")).how == ASKED

    run(scenario)


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_token_server_that_is_away_is_stood_in_for(run: Run, code: int) -> None:
    """By a token that counts as none, and that is said of the request that shows it."""

    async def scenario(world: World) -> None:
        await world.challenge()
        world.server.routes["/token"] = status(code)
        got = await world.get("/token?scope=repository:app:pull", ALICE)
        assert (got.status, got.how) == (200, LOCALLY)
        token = json.loads(got.body)["token"]
        shown = world.request("/v2/app/manifests/1", ("Authorization", f"Bearer {token}"), ALICE)
        assert world.logins.settle(shown) is shown  # two logins: not ours to judge
        request = world.logins.settle(replace(shown, headers=shown.headers[:1]))
        assert (request.headers, request.without_token) == ((), True)

    run(scenario)

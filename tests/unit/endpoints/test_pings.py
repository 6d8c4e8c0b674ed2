"""Pings: what reaches upstream, what comes back, what is remembered of it."""

import asyncio
import threading

import pytest

from entrepot.endpoints import ping_memory
from entrepot.endpoints.ping_memory import REMEMBERED_SECONDS
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields
from rig.faults import Exchange, FaultServer, Handler, first, redirect, status
from unit.endpoints.world import (
    ALICE,
    ASKED,
    BASIC,
    CHALLENGE,
    HIT,
    LOCALLY,
    OPEN,
    REFUSAL,
    VERSION,
    Run,
    World,
    raw,
    read,
)


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
    monkeypatch.setattr(ping_memory, "_MOST_REMEMBERED", 1)

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


# Away


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

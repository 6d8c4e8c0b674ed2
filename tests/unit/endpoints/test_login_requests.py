"""Which requests are answered as pings or for tokens, and how their answers are passed on."""

import asyncio
import json
import threading

import pytest

from entrepot.endpoints.login_requests import LARGEST_FORM
from entrepot.protocol.messages import Fields
from entrepot.protocol.routes import parse_endpoint
from rig.faults import Content, Exchange, Handler, first, status
from unit.endpoints.world import (
    ALICE,
    ASKED,
    BASIC,
    CHALLENGE,
    OPEN,
    REFUSAL,
    Run,
    World,
    raw,
    read,
)


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

"""Token requests: what reaches the token server, what comes back, what is learnt of it."""

import json
from dataclasses import replace

import pytest

from rig.faults import Content, Exchange, Handler, first, redirect, status
from unit.endpoints.world import ALICE, BASIC, LOCALLY, REFUSAL, Run, World, read


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

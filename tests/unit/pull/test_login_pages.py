"""Login pages of a single sign-on, which answers everybody 200: they allow nothing."""

import pytest

from rig.faults import Content, Exchange, FaultServer, Gate, Handler, first, redirect, status
from unit.pull.world import ALICE, BLOB, BOB, BY_DIGEST, DATA, MANIFEST, TAG, Run, World, read

LOGIN_PAGE = b"<html><title>Sign in</title></html>"


def signed_on(server: FaultServer, handler: Handler, how: str) -> Handler:
    """A handler behind a single sign-on that lets Alice pass and shows others a login page."""
    page = status(200, LOGIN_PAGE, {"Content-Type": "text/html"})
    server.routes |= {"/oauth2/sign_in": page}
    away = f"http://localhost:{server.port}/oauth2/sign_in"
    answers: dict[str, Handler] = {
        "page": page,
        "same host": redirect("/oauth2/sign_in", 302),
        "another host": redirect(away, 302),
        "chunked page": Content(LOGIN_PAGE, "text/html", chunked=True),
    }

    def guarded(exchange: Exchange) -> None:
        allowed = exchange.request.authorization == ALICE[1]
        (handler if allowed else answers[how])(exchange)

    return guarded


@pytest.mark.parametrize("how", ["page", "same host", "another host", "chunked page"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [BLOB, BY_DIGEST, TAG])
def test_a_login_page_allows_nothing(
    run: Run, server: FaultServer, path: str, method: str, how: str
) -> None:
    """Behind a single sign-on everybody is answered 200; only the object itself allows it."""
    server.routes[path] = signed_on(server, server.routes[path], how)
    whole = DATA if path == BLOB else MANIFEST

    async def scenario(world: World) -> None:
        assert (await world.get(path, ALICE)).body == whole
        await world.settled()
        for fields in ((), (BOB,), ()):
            got = await world.get(path, *fields, method=method)
            assert whole not in got.body
            assert got.headers.get("docker-content-digest") is None or not got.whole
            assert "hit" not in got.headers.get("cache-status", "")
            await world.settled()
        assert (await world.get(path, ALICE)).body == whole

    run(scenario)


@pytest.mark.parametrize("how", ["page", "same host", "another host", "chunked page"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_login_page_that_came_first_makes_nothing_public(
    run: Run, server: FaultServer, method: str, how: str
) -> None:
    """What an anonymous client got for a miss is no word on what Alice fetches next."""
    server.routes[BLOB] = signed_on(server, server.routes[BLOB], how)

    async def scenario(world: World) -> None:
        await world.get(BLOB, method=method)
        await world.settled()
        assert (await world.get(BLOB, ALICE)).body == DATA
        await world.settled()
        assert DATA not in (await world.get(BLOB)).body

    run(scenario)


def test_two_who_are_shown_the_same_login_page_allow_each_other_nothing(
    run: Run, server: FaultServer
) -> None:
    """A page is as long as itself: a running fetch must be verified before it allows."""
    gate = Gate(5)
    page = Content(LOGIN_PAGE, "text/html", gate=gate)
    good = server.routes[BLOB]

    def guarded(exchange: Exchange) -> None:
        (good if exchange.request.authorization == ALICE[1] else page)(exchange)

    server.routes[BLOB] = guarded

    async def scenario(world: World) -> None:
        leader, follower = await world.ask(BLOB), await world.ask(BLOB, BOB)
        gate.open()
        assert not any([(await read(leader)).whole, (await read(follower)).whole])
        await world.settled()
        assert (await world.get(BLOB, ALICE)).body == DATA
        await world.settled()
        for fields in ((), (BOB,)):
            assert DATA not in (await world.get(BLOB, *fields)).body

    run(scenario)


def test_a_condition_waits_for_the_bytes(run: Run, server: FaultServer) -> None:
    """304 says that the object is there: not on the strength of what may be a login page."""
    good = server.routes[BLOB]
    server.routes[BLOB] = first(1, Content(LOGIN_PAGE, "text/html"), good)

    async def scenario(world: World) -> None:
        assert (await world.get(BLOB, ("If-None-Match", "*"))).status == 502
        await world.settled()
        assert (await world.get(BLOB, ("If-None-Match", "*"))).status == 304

    run(scenario)

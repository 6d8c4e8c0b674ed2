"""HEAD of blobs that are not here: a length and a digest, whatever the registry leaves out."""

import pytest

from rig.faults import Content, Exchange, FaultServer, error, redirect
from unit.pull.world import ALICE, BLOB, BOB, CHALLENGE, DATA, DIGEST, Got, Run, World, only


def assert_told(got: Got) -> None:
    """What a client that asks by HEAD wants to know."""
    assert (got.status, got.body) == (200, b"")
    assert got.headers["content-length"] == str(len(DATA))
    assert got.headers["docker-content-digest"] == str(DIGEST)
    assert "content-encoding" not in got.headers


@pytest.mark.parametrize(
    "content",
    [
        Content(DATA, digest=str(DIGEST)),
        Content(DATA),
        Content(DATA, chunked=True),
        Content(DATA, head_status=403),
        Content(DATA, head_status=405, digest=str(DIGEST)),
        Content(DATA, head_status=501, ranges=False),
    ],
)
def test_it_has_a_length_and_the_digest(run: Run, server: FaultServer, content: Content) -> None:
    """Of the registry's own answer, or of a GET of the first byte, which fetches no more."""
    server.routes[BLOB] = content

    async def scenario(world: World) -> None:
        got = await world.get(BLOB, method="HEAD")
        assert_told(got)
        assert got.how == "fwd=miss; fwd-status=200"
        methods = [seen[0] for seen in world.seen()]
        complete = content.head_status is None and not content.chunked
        assert methods == (["HEAD"] if complete else ["HEAD", "GET"])
        assert not list(world.store.partials.folder.iterdir())

    run(scenario)


def test_a_content_network_that_takes_no_head(run: Run, server: FaultServer) -> None:
    """An address that is signed for GET alone refuses the HEAD of who may have the blob."""
    server.routes["/signed"] = Content(DATA, head_status=403)
    server.routes[BLOB] = redirect(f"http://localhost:{server.port}/signed")

    async def scenario(world: World) -> None:
        assert_told(await world.get(BLOB, ALICE, method="HEAD"))

    run(scenario)


def test_who_shows_no_login_gets_the_challenge(run: Run, server: FaultServer) -> None:
    """It costs one question: the client comes again with a token."""
    server.routes[BLOB] = only(server.routes[BLOB], ALICE[1])

    async def scenario(world: World) -> None:
        got = await world.get(BLOB, method="HEAD")
        assert (got.status, got.headers["www-authenticate"]) == (
            401,
            CHALLENGE["WWW-Authenticate"],
        )
        assert [seen[0] for seen in world.seen()] == ["HEAD"]

    run(scenario)


def test_who_may_not_have_it_is_told_nothing(run: Run, server: FaultServer) -> None:
    """A refusal of both is the registry's own, and takes nothing from who was given it."""
    server.routes[BLOB] = only(server.routes[BLOB], ALICE[1])

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        got = await world.get(BLOB, BOB, method="HEAD")
        assert (got.status, "content-length" in got.headers) == (401, True)
        assert got.headers.get("docker-content-digest") is None
        world.seen()
        assert (await world.get(BLOB, ALICE)).how == "hit"
        assert world.seen() == []

    run(scenario)


@pytest.mark.parametrize(
    "shown",
    [
        Content(b"<html>", "text/html"),
        Content(b"{}", digest=f"sha256:{'0' * 64}"),
        error(404, "BLOB_UNKNOWN", "gone"),
    ],
)
def test_what_a_get_shows_may_be_something_else(
    run: Run, server: FaultServer, shown: Content
) -> None:
    """Then the refused HEAD is the answer."""

    def answer(exchange: Exchange) -> None:
        refused = error(403, "DENIED", "no HEAD here")
        (refused if exchange.request.method == "HEAD" else shown)(exchange)

    server.routes[BLOB] = answer

    async def scenario(world: World) -> None:
        got = await world.get(BLOB, method="HEAD")
        assert got.status == 403
        assert got.headers.get("docker-content-digest") is None

    run(scenario)


def test_a_get_that_fails_leaves_the_answer_as_it_was(run: Run, server: FaultServer) -> None:
    """A length would have been good to know."""

    def answer(exchange: Exchange) -> None:
        if exchange.request.method == "GET":
            exchange.cut()
        else:
            Content(DATA, chunked=True)(exchange)

    server.routes[BLOB] = answer

    async def scenario(world: World) -> None:
        got = await world.get(BLOB, method="HEAD")
        assert (got.status, "content-length" in got.headers) == (200, False)
        assert got.headers["docker-content-digest"] == str(DIGEST)

    run(scenario)

"""Blobs: hits, parts of them, and what upstream says itself."""

import pytest

from rig.faults import Content, FaultServer, error
from unit.pull.world import BLOB, BOB, CHALLENGE, DATA, Run, World


def test_a_blob_is_fetched_once_and_then_a_hit(run: Run) -> None:
    """The second client is answered without upstream, since the repository is public."""

    async def scenario(world: World) -> None:
        got = await world.get(BLOB)
        assert (got.status, got.body, got.whole) == (200, DATA, True)
        assert got.how == "fwd=miss; stored"
        await world.settled()
        assert world.seen() == [("GET", BLOB, None)]
        for fields in ((), (BOB,)):
            got = await world.get(BLOB, *fields)
            assert (got.status, got.body, got.how) == (200, DATA, "hit")
        assert world.seen() == []
        assert world.events.counts["store_failed"] == 0

    run(scenario)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("code", [400, 401, 403, 404, 429, 500, 503])
def test_a_refusal_is_upstreams_own(run: Run, server: FaultServer, code: int, method: str) -> None:
    """Status, challenge and body are relayed, nothing is stored, nothing is left."""
    server.routes[BLOB] = error(code, "NO", "because", CHALLENGE | {"Retry-After": "3"})

    async def scenario(world: World) -> None:
        got = await world.get(BLOB, method=method)
        assert got.status == code
        assert got.headers["retry-after"] == "3"
        assert got.headers["www-authenticate"] == CHALLENGE["WWW-Authenticate"]
        assert (b"because" in got.body) is (method == "GET")
        assert got.how == f"fwd=miss; fwd-status={code}"
        assert not list(world.store.partials.folder.iterdir())

    run(scenario)


def test_a_refusal_is_asked_for_once(run: Run, server: FaultServer) -> None:
    """Only what may pass is waited out."""
    server.routes[BLOB] = error(403, "DENIED", "no", {"Retry-After": "0"})

    async def scenario(world: World) -> None:
        assert (await world.get(BLOB)).status == 403
        assert world.seen() == [("GET", BLOB, None)]

    run(scenario)


def test_a_head_of_an_unknown_blob_fetches_nothing(run: Run) -> None:
    """Upstream's own answer, with the length that GET would have."""

    async def scenario(world: World) -> None:
        got = await world.get(BLOB, method="HEAD")
        assert (got.status, got.body, got.headers["content-length"]) == (200, b"", str(len(DATA)))
        assert [seen[0] for seen in world.seen()] == ["HEAD"]

    run(scenario)


@pytest.mark.parametrize("warm", [False, True])
def test_a_part_is_cut_out_of_the_whole(
    run: Run,
    warm: bool,  # noqa: FBT001 hit and miss
) -> None:
    """A range is answered from a fetch of all, and from a hit; upstream sees no range."""

    async def scenario(world: World) -> None:
        if warm:
            await world.get(BLOB)
            await world.settled()
        got = await world.get(BLOB, ("Range", "bytes=1000-1999"))
        assert (got.status, got.body) == (206, DATA[1000:2000])
        assert got.headers["content-range"] == f"bytes 1000-1999/{len(DATA)}"
        assert [seen.range for seen in world.server.requests] == [None]

    run(scenario)


def test_a_part_of_a_blob_of_unknown_size_waits_for_the_size(run: Run, server: FaultServer) -> None:
    """Where upstream does not say the length, a suffix range has to wait for it."""
    server.routes[BLOB] = Content(DATA, chunked=True)

    async def scenario(world: World) -> None:
        got = await world.get(BLOB, ("Range", "bytes=-10"))
        assert (got.status, got.body) == (206, DATA[-10:])

    run(scenario)

"""Blobs: hits, parts of them, and what upstream says itself."""

import os

import pytest

from rig.faults import Content, FaultServer, error
from rig.multipart import parts_of
from unit.pull.world import BLOB, BOB, CHALLENGE, DATA, Run, World, read


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
    """A range is asked for itself where it is not here, with what is read ahead of a tiny one."""

    async def scenario(world: World) -> None:
        if warm:
            await world.get(BLOB)
            await world.settled()
        got = await world.get(BLOB, ("Range", "bytes=1000-1999"))
        assert (got.status, got.body) == (206, DATA[1000:2000])
        assert got.headers["content-range"] == f"bytes 1000-1999/{len(DATA)}"
        asked = world.server.requests[0].range
        assert asked == (None if warm else f"bytes=1000-{1000 + 64 * 1024 - 1}")
        assert len(world.server.requests) == 1 or not warm

    run(scenario)


def test_a_part_of_a_blob_of_unknown_size_waits_for_the_size(run: Run, server: FaultServer) -> None:
    """Where upstream does not say the length, a suffix range has to wait for it."""
    server.routes[BLOB] = Content(DATA, chunked=True)

    async def scenario(world: World) -> None:
        got = await world.get(BLOB, ("Range", "bytes=-10"))
        assert (got.status, got.body) == (206, DATA[-10:])

    run(scenario)


SEVERAL = ("Range", "bytes=290000-290999, 0-9,,200000-200099")
SPANS = [(290_000, 291_000), (0, 10), (200_000, 200_100)]


def test_parts_go_on_with_upstream_where_the_disk_fails(run: Run, server: FaultServer) -> None:
    """Each part that the file has no more; the others are given from it."""

    async def scenario(world: World) -> None:
        await world.get(BLOB)
        await world.settled()
        answer = await world.ask(BLOB, SEVERAL)
        (file,) = world.store.folder.glob("blobs/**/*.val")
        os.truncate(file, 100_000)
        world.seen()
        got = await read(answer)
        assert got.whole
        found = parts_of(got.headers["content-type"], got.body)
        assert found == [(start, DATA[start:stop]) for start, stop in SPANS]
        asked = [seen.range for seen in server.requests]
        assert asked == ["bytes=290000-290999", "bytes=200000-200099"]

    run(scenario)


def test_several_ranges_of_what_is_not_stored_are_passed_on(run: Run, server: FaultServer) -> None:
    """As they were understood; whether it gives a part, parts or the whole is upstream's to say."""

    async def scenario(world: World) -> None:
        got = await world.get(BLOB, SEVERAL)
        assert (got.status, got.body, got.whole) == (200, DATA, True)
        assert server.requests[-1].range == "bytes=290000-290999,0-9,200000-200099"
        for ignored in ("bytes=0-1,x", "bytes=" + ",".join(["100-109"] * 1000)):
            got = await world.get(BLOB, ("Range", ignored))
            assert (got.status, got.body) == (200, DATA)
            assert server.requests[-1].range is None
        stale = await world.get(BLOB, SEVERAL, ("If-Range", '"other"'))
        assert stale.body == DATA
        assert not server.requests[-1].range

    run(scenario, limit=100_000)

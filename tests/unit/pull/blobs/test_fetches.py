"""Fetches of blobs: one for all who ask at once, and what becomes of it."""

import asyncio
import functools
import random
import resource
import threading

import pytest

from entrepot.protocol.identifiers import Digest
from entrepot.transfer import download_limits
from rig.faults import Content, FaultServer, Gate, first
from rig.process import eventually
from unit.pull.world import ALICE, BLOB, BOB, DATA, OTHER_BLOB, Got, Run, World, only, read


def test_all_who_ask_at_once_share_one_fetch(run: Run, server: FaultServer) -> None:
    """Each with a decision of its own, all from the growing file."""
    gate = Gate(100_000)
    server.routes[BLOB] = only(Content(DATA, gate=gate), ALICE[1], BOB[1])

    async def scenario(world: World) -> None:
        leader = await world.ask(BLOB, ALICE)
        followers = [await world.ask(BLOB, fields) for fields in (ALICE, BOB, BOB)]
        denied = await world.get(BLOB)
        gate.open()
        everybody = await asyncio.gather(*(read(answer) for answer in (leader, *followers)))
        assert [got.body for got in everybody] == [DATA] * 4
        assert [got.how for got in everybody[1:]] == ["fwd=miss; collapsed"] * 3
        assert denied.status == 401
        gets = [seen for seen in world.seen() if seen[0] == "GET"]
        assert gets == [("GET", BLOB, ALICE[1]), ("GET", BLOB, BOB[1]), ("GET", BLOB, None)]

    run(scenario)


def test_a_busy_loop_still_follows_a_fetch_that_has_ended(run: Run) -> None:
    """A small blob may be fetched and committed before its own client's turn comes."""

    async def scenario(world: World) -> None:
        loop = asyncio.get_running_loop()

        def hold() -> None:
            """Once the fetch has begun, let it end before the loop does anything else."""
            if not world.cache.downloads:
                loop.call_soon(hold)
                return
            while list(world.store.partials.folder.iterdir()) or _downloading():
                pass

        loop.call_soon(hold)
        got = await world.get(BLOB)
        assert (got.status, got.body, got.whole) == (200, DATA, True)

    run(scenario)


def _downloading() -> bool:
    return any(thread.name.startswith("download ") for thread in threading.enumerate())


def test_two_repositories_that_share_a_fetch_both_have_the_blob(
    run: Run, server: FaultServer
) -> None:
    """One commit for each, without a word of failure."""
    gate = Gate(100_000)
    server.routes[BLOB] = Content(DATA, gate=gate)

    async def scenario(world: World) -> None:
        leader, follower = await world.ask(BLOB), await world.ask(OTHER_BLOB)
        gate.open()
        assert (await read(leader)).body == (await read(follower)).body == DATA
        await world.settled()
        assert world.events.counts["store_failed"] == 0
        world.seen()
        assert (await world.get(OTHER_BLOB)).how == "hit"
        assert world.seen() == []

    run(scenario)


def test_a_follower_of_unknown_length_waits_for_it(run: Run, server: FaultServer) -> None:
    """Where upstream tells a blob's length to nobody, it is passed on, verified."""
    gate = Gate(100_000)
    server.routes[BLOB] = Content(DATA, gate=gate, chunked=True, ranges=False)

    async def scenario(world: World) -> None:
        leader = await world.ask(BLOB, ALICE)
        following = asyncio.create_task(world.get(BLOB, BOB))
        await asyncio.to_thread(server.await_request, authorization=BOB[1])
        gate.open()
        assert (await read(leader)).body == DATA
        got = await following
        assert (got.body, got.whole, got.how) == (DATA, True, "fwd=miss; detail=unstored")

    run(scenario)


def test_a_fetch_outlives_its_client(run: Run, server: FaultServer) -> None:
    """The client leaves before the first byte, the blob is stored all the same."""
    gate = Gate()
    server.routes[BLOB] = Content(DATA, gate=gate)

    async def scenario(world: World) -> None:
        (await world.ask(BLOB)).close()
        gate.open()
        await world.settled()
        world.seen()
        assert (await world.get(BLOB)).how == "hit"
        assert world.seen() == []

    run(scenario)


def test_wrong_bytes_are_cut_and_never_stored(run: Run, server: FaultServer) -> None:
    """The client cannot take them for whole, and the next one is not given them."""
    good = server.routes[BLOB]
    server.routes[BLOB] = first(1, Content(bytes(len(DATA))), good)

    async def scenario(world: World) -> None:
        got = await world.get(BLOB)
        assert not got.whole
        await world.settled()
        assert not list(world.store.partials.folder.iterdir())
        assert world.events.counts["digest_mismatched"] == 1
        got = await world.get(BLOB)
        assert (got.body, got.how) == (DATA, "fwd=miss; stored")

    run(scenario)


# Without room


@pytest.mark.parametrize(("content", "whole"), [(DATA, True), (bytes(len(DATA)), False)])
def test_a_blob_without_room_is_passed_on_verified(
    run: Run,
    server: FaultServer,
    content: bytes,
    whole: bool,  # noqa: FBT001 a column of the table
) -> None:
    """The client gets it, whole only if it is what its digest says; nothing is kept."""
    server.routes[BLOB] = Content(content)

    async def scenario(world: World) -> None:
        got = await world.get(BLOB)
        assert (got.status, got.whole) == (200, whole)
        assert got.body == (content if whole else content[:-1])
        assert not list(world.store.partials.folder.iterdir())
        assert world.events.counts["blob_unstored"] == 1
        assert (await world.get(BLOB, ("Range", "bytes=0-9"))).body == content[:10]

    run(scenario, limit=100_000)


def test_a_disk_that_fills_up_does_not_break_a_transfer(run: Run, server: FaultServer) -> None:
    """A reader goes on with upstream where the file ends."""
    gate = Gate(100_000)
    server.routes[BLOB] = Content(DATA, gate=gate)

    async def scenario(world: World) -> None:
        answer = await world.ask(BLOB)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))
        try:
            gate.open()
            got = await read(answer)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (got.body == DATA, got.whole) == (True, True)
        assert server.requests[-1].range is not None
        await world.settled()
        assert not list(world.store.partials.folder.iterdir())

    run(scenario)


# Downloads that hardly move


def hanging(server: FaultServer, data: bytes, sent: int) -> tuple[str, Gate]:
    """A blob of which the first request gets so much and waits; the next get it whole."""
    gate = Gate(sent)
    digest = Digest.of(data)
    path = f"/v2/app/blobs/{digest}"
    server.routes[path] = first(
        1, Content(data, digest=str(digest), gate=gate), Content(data, digest=str(digest))
    )
    return path, gate


async def begun(world: World, path: str, count: int) -> asyncio.Task[Got]:
    """A client that reads a blob, of which so much has come."""
    task = asyncio.create_task(read(await world.ask(path)))
    (download,) = (
        download
        for (_, digest), download in world.cache._fetches.running.items()  # noqa: SLF001
        if path.endswith(str(digest))
    )
    arrived = functools.partial(lambda: download.file.written == count)
    await asyncio.to_thread(eventually, arrived, within=30, what="its first bytes")
    return task


@pytest.mark.parametrize("moves", [True, False])
def test_a_download_that_hardly_moves_gives_its_room_to_another(
    run: Run,
    server: FaultServer,
    moves: bool,  # noqa: FBT001 a column of the table
) -> None:
    """Its clients go on by themselves and get the whole; one that moves keeps what it has."""
    data = random.Random(2).randbytes(1_500_000)  # noqa: S311 the same in every process
    new = random.Random(3).randbytes(1_000_000)  # noqa: S311 the same in every process
    path, gate = hanging(server, data, 1_200_000)
    other, _ = hanging(server, new, len(new))

    async def scenario(world: World) -> None:
        reading = await begun(world, path, 1_200_000)
        world.now[0] += 30 if moves else 61
        got = await world.get(other)
        assert (got.body, got.how == "fwd=miss; stored") == (new, not moves)
        assert world.events.counts["fetch_yielded"] == (0 if moves else 1)
        gate.open()
        assert (await reading).body == data

    run(scenario, limit=2_000_000)


def test_a_download_that_hardly_moves_makes_way_where_too_many_run(
    run: Run, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that nobody waits for goes first; where all move, the next is passed on unstored."""
    monkeypatch.setattr(download_limits, "MOST_OF_ORIGIN", 2)
    blobs = [random.Random(n).randbytes(100_000) for n in range(5)]  # noqa: S311 the same
    hung = [hanging(server, data, 50_000) for data in blobs]

    async def scenario(world: World) -> None:
        (one, _), (two, gate), *more = hung
        left = await world.ask(one)
        waited = await begun(world, two, 50_000)
        assert (await world.get(BLOB)).how == "fwd=miss; detail=unstored"
        assert world.events.counts["downloads_full"] == 1
        left.close()
        world.now[0] += 61
        third = await begun(world, more[0][0], 50_000)
        assert list(world.store.partials.folder.glob(f"*{Digest.of(blobs[0]).hex}*"))
        assert not waited.done()
        gate.open()
        more[0][1].open()
        assert ((await waited).body, (await third).body) == (blobs[1], blobs[2])

    run(scenario)

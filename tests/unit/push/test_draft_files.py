"""Drafts, where the disk or the store does not do its work or is slower than the push."""

import asyncio
import sqlite3
from contextlib import closing

from unit.push.ways import monolithic, one_patch
from unit.push.world import (
    DATA,
    DIGEST,
    LIMIT,
    PLACE,
    UPLOADS,
    Start,
    in_loop,
    until,
)


@in_loop
async def test_no_room(start: Start) -> None:
    """A blob larger than the limit is given up, whether its size was announced or not."""
    async with start(limit=150_000) as world:
        await one_patch(world)
        await monolithic(world)
        assert await world.bytes_of() is None
        assert (world.unfinished(), world.events.counts["push_unkept"]) == ([], 2)


@in_loop
async def test_a_full_disk(start: Start) -> None:
    """What cannot be written is given up."""
    async with start() as world:
        world.store.partials.folder.rmdir()
        await monolithic(world)
        assert await world.bytes_of() is None
        assert world.events.counts["push_unkept"] == 1
        world.store.partials.folder.mkdir()
        await monolithic(world)
        assert await world.bytes_of() == DATA


@in_loop
async def test_a_store_that_is_locked(start: Start) -> None:
    """A push goes on at once while another process holds the database; it is not kept."""
    async with start() as world:
        with closing(sqlite3.connect(start.folder / "index" / "cache.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            began = asyncio.get_running_loop().time()
            await monolithic(world)
            assert asyncio.get_running_loop().time() - began < 1
            await until(lambda: world.events.counts["push_unkept"] > 0)
            await world.settled()
        assert (world.unfinished(), world.waiting()) == ([], 0)


@in_loop
async def test_a_disk_that_does_not_keep_up(start: Start) -> None:
    """Promise 6: what waits for the disk is bounded; beyond, the push goes on and is not kept."""
    async with start() as world:
        world.begin()
        watched = world.watch("PUT", f"{PLACE}?digest={DIGEST}")
        assert watched is not None
        piece, most = bytes(65536), 0
        held = world.hold()
        for _ in range(1000):
            watched.add(piece)
            most = max(most, world.waiting())
        assert 30_000_000 < most < 34_000_000
        held.set()
        watched.add(b"")
        watched.answered(201, ())
        await world.settled()
        assert (world.unfinished(), world.waiting()) == ([], 0)
        assert world.events.counts["push_unkept"] == 1
        await monolithic(world)
        assert await world.bytes_of() == DATA


@in_loop
async def test_uploads_that_dawdle_leave_memory_to_the_others(start: Start) -> None:
    """Promise 8: of many that hold a little less than is written at once, each is written."""
    async with start() as world:
        dawdling = [
            world.watch("POST", f"{UPLOADS}?digest={DIGEST}", size=LIMIT) for _ in range(40)
        ]
        for _ in range(15):
            for watched in dawdling:
                assert watched is not None
                watched.add(bytes(65536))
            await until(lambda: world.waiting() <= 16 * 1024 * 1024)
        await monolithic(world)
        assert await world.bytes_of() == DATA

"""A pull waits a while for what was just pushed."""

import asyncio

from entrepot.protocol.messages import Request
from entrepot.protocol.routes import Blob
from entrepot.push.pending_commits import PendingCommits
from unit.push.ways import monolithic
from unit.push.world import (
    APP,
    DIGEST,
    ORIGIN,
    Start,
    in_loop,
)


@in_loop
async def test_a_pull_waits_for_what_was_just_pushed(start: Start) -> None:
    """A blob that is being written is not fetched again; whoever only asks for it does not wait."""
    async with start() as world:
        held = world.hold()
        await monolithic(world)
        access = world.context.access
        request = Request("GET", ORIGIN, f"/v2/app/blobs/{DIGEST}")
        access.allow(APP, access.credentials.of(request), [DIGEST], access.asked(1e9))
        pull = asyncio.create_task(world.cache.handle(request, Blob("app", DIGEST)))
        await asyncio.wait([pull], timeout=0.1)
        assert not pull.done()
        held.set()
        answer = await pull
        assert (answer.status, answer.value("Cache-Status")) == (200, "entrepot; hit")
        answer.close()


@in_loop
async def test_a_pull_does_not_wait_for_ever() -> None:
    """Promise 7: a disk that hangs holds up a pull for a while only, and a stop not at all."""
    pending, forever = PendingCommits(0.01), asyncio.Event()
    pending.start("blob", forever.wait())
    await pending.settled("blob")
    await pending.settled("other")
    await pending.stop(0.01)

"""What a push may not do: allow, evict, or leave something behind."""

from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.messages import Request
from unit.push.ways import at_once, monolithic
from unit.push.world import APP, DATA, DIGEST, ORIGIN, OTHER_HOST, UPLOADS, Start, in_loop


@in_loop
async def test_a_push_allows_nothing(start: Start) -> None:
    """Promise 2: who may push may perhaps not pull, and an open door for pushes opens no other."""
    async with start() as world:
        await monolithic(world)
        assert await world.bytes_of() == DATA
        access, now = world.context.access, world.context.clock()
        for request in (
            Request("GET", ORIGIN, "/"),
            Request("GET", ORIGIN, "/", headers=(("Authorization", "Basic alice"),)),
        ):
            assert not access.is_allowed(APP, access.credentials.of(request), DIGEST, now)
        assert not world.store.decisions.was_given(APP, DIGEST, ANYONE)
        elsewhere = Repository(OTHER_HOST, "app")
        assert world.store.blobs.find(elsewhere, DIGEST) is None


@in_loop
async def test_a_push_evicts_nothing_before_the_registry_took_it(start: Start) -> None:
    """Promise 9: who has no right to push costs no object its place; the 201 makes room."""
    async with start(limit=1_050_000) as world:
        old = [Digest.of(bytes([number]) * 200_000) for number in range(4)]
        for number, digest in enumerate(old):
            data = bytes([number]) * 200_000
            world.ask("POST", f"{UPLOADS}?digest={digest}", data, 201)
            assert await world.bytes_of(digest) == data
        watched = world.watch("POST", f"{UPLOADS}?digest={DIGEST}", size=990_000)
        assert watched is not None
        watched.add(DATA)
        await world.settled()
        watched.answered(401, ())
        assert [await world.bytes_of(digest) is not None for digest in old] == [True] * 4
        await at_once(world)
        assert await world.bytes_of() == DATA
        assert [await world.bytes_of(digest) is not None for digest in old].count(False) == 1


@in_loop
async def test_a_kill_leaves_nothing(start: Start) -> None:
    """What was unfinished when the process ended is gone after the next start."""
    async with start() as world:
        left = world.store.partials.folder / "push-abcdefgh.part"
        left.write_bytes(DATA)
    async with start() as world:
        assert world.unfinished() == []

"""Uploads of blobs: what is kept of them, and what is not."""

import pytest

from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.messages import Request
from entrepot.protocol.routes import Blob
from unit.push.ways import FAILURES, FORMS, monolithic
from unit.push.world import (
    DATA,
    DIGEST,
    ORIGIN,
    OTHER,
    OTHER_HOST,
    PLACE,
    UPLOADS,
    Push,
    Start,
    in_loop,
    until,
)


@pytest.mark.parametrize("push", FORMS)
@in_loop
async def test_every_form_of_push_is_kept(start: Start, push: Push) -> None:
    """The bytes of an accepted upload are stored, linked to its repository, and nothing is left."""
    async with start() as world:
        await push(world)
        assert await world.bytes_of() == DATA
        assert await world.bytes_of(repository=OTHER) is None
        assert (world.unfinished(), world.waiting(), world.events.counts["blob_stored"]) == (
            [],
            0,
            1,
        )
        assert world.unclaimed()


@pytest.mark.parametrize("push", FAILURES)
@in_loop
async def test_whatever_is_odd_is_not_kept(start: Start, push: Push) -> None:
    """Nothing is stored of such an upload, and nothing of it is left, on the disk or in memory."""
    async with start() as world:
        await push(world)
        assert await world.bytes_of() is None
        await world.pushes.stop(5)
        assert (world.unfinished(), world.waiting(), world.events.counts["blob_stored"]) == (
            [],
            0,
            0,
        )
        assert world.unclaimed()


@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "a byte", "more"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@in_loop
async def test_any_digest_and_size(start: Start, algorithm: str, data: bytes) -> None:
    """Verified by the algorithm of its own digest, which comes with the last request."""
    digest = Digest.of(data, algorithm)
    async with start() as world:
        world.begin()
        world.ask("PATCH", PLACE, data, 202)
        world.ask("PUT", f"{PLACE}?digest={digest}", b"", 201)
        assert await world.bytes_of(digest) == data
        world.begin()
        world.ask("PUT", f"{PLACE}?digest={Digest.of(b'other', algorithm)}", data, 201)
        assert await world.bytes_of(Digest.of(b"other", algorithm)) is None
        assert world.unfinished() == []


@in_loop
async def test_two_pushes_of_a_blob_at_once(start: Start) -> None:
    """Each has its own draft; both repositories have the blob then."""
    async with start() as world:
        world.begin()
        world.ask("POST", "/v2/other/blobs/uploads/", b"", 202, ("Location", "b"))
        one = world.watch("PUT", f"{PLACE}?digest={DIGEST}")
        other = world.watch("PUT", f"/v2/other/blobs/uploads/b?digest={DIGEST}")
        assert one is not None
        assert other is not None
        for start_at in range(0, len(DATA), 1000):
            one.add(DATA[start_at : start_at + 1000])
            other.add(DATA[start_at : start_at + 1000])
        for watched in (one, other):
            watched.add(b"")
            watched.answered(201, ())
        assert await world.bytes_of() == await world.bytes_of(repository=OTHER) == DATA
        assert world.unfinished() == []


@pytest.mark.parametrize(
    ("pushed", "fields", "linked"),
    [
        (True, (), True),
        (True, (("Docker-Content-Digest", str(DIGEST)),), True),
        (True, (("Docker-Content-Digest", str(Digest.of(b"other"))),), False),
        (False, (), False),
    ],
)
@in_loop
async def test_a_mount_is_a_registrys_word(
    start: Start,
    pushed: bool,  # noqa: FBT001
    fields: tuple[tuple[str, str], ...],
    linked: bool,  # noqa: FBT001
) -> None:
    """It links what this registry holds already, and gives nobody another registry's bytes."""
    async with start() as world:
        if pushed:
            await monolithic(world)
            await world.settled()
        else:
            theirs = world.store.partials.folder / "theirs.part"
            theirs.write_bytes(DATA)
            elsewhere = Repository(OTHER_HOST, "secret")
            world.store.blobs.commit(theirs, elsewhere, DIGEST, "x/y", given_to=None)
        mount = f"/v2/other/blobs/uploads/?mount={DIGEST}&from=app"
        world.ask("POST", mount, b"", 201, *fields)
        assert (await world.bytes_of(repository=OTHER) == DATA) is linked


@in_loop
async def test_a_blob_deleted_while_it_is_stored(start: Start) -> None:
    """Promise 2: a DELETE that upstream accepted after the push is the last word."""
    async with start() as world:
        await monolithic(world)
        delete = Request("DELETE", ORIGIN, f"/v2/app/blobs/{DIGEST}")
        await world.cache.changed("DELETE", delete, Blob("app", DIGEST))
        assert await world.bytes_of() is None
        assert world.unfinished() == []


@in_loop
async def test_an_upload_that_rests_is_dropped(start: Start) -> None:
    """Room is not held for clients that do not come back."""
    async with start(idle_seconds=0.5) as world:
        world.begin()
        world.ask("PATCH", PLACE, DATA, 202)
        await until(lambda: len(world.unfinished()) == 1)
        await until(lambda: world.unfinished() == [])
        world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)
        assert await world.bytes_of() is None


@in_loop
async def test_uploads_without_end(start: Start) -> None:
    """Of many unfinished uploads the latest are known, and the files of the others are gone."""
    async with start() as world:
        for number in range(300):
            world.begin(f"{UPLOADS}{number}")
            world.ask("PATCH", f"{UPLOADS}{number}", b"x", 202)
        await world.settled()
        assert len(world.unfinished()) <= 256
        world.ask("PUT", f"{UPLOADS}0?digest={Digest.of(b'x')}", b"", 201)
        assert await world.bytes_of(Digest.of(b"x")) is None
        world.ask("PUT", f"{UPLOADS}299?digest={Digest.of(b'x')}", b"", 201)
        assert await world.bytes_of(Digest.of(b"x")) == b"x"

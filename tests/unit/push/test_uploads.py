"""What is kept of pushes, and what is not: the requests as they pass, without a proxy."""

import asyncio
import functools
import itertools
import json
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrepot.auth.grants import Access
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.mitm.hooks.push_tee import tee
from entrepot.protocol.credential import ANYONE
from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.protocol.messages import Request
from entrepot.protocol.routes import Blob, parse_endpoint
from entrepot.pull.cache import Cache
from entrepot.pull.stale import Outage
from entrepot.push.capture import Pushes
from entrepot.push.pending import Keeping
from entrepot.push.request_tap import Watched
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from rig.process import eventually

ORIGIN = Origin("https", "registry.example.test", 443)
OTHER_HOST = Origin("https", "other.example.test", 443)
APP, OTHER = Repository(ORIGIN, "app"), Repository(ORIGIN, "other")
DATA = bytes(range(256)) * 1000
DIGEST = Digest.of(DATA)
UPLOADS = "/v2/app/blobs/uploads/"
PLACE = f"{UPLOADS}7f3a"
LIMIT = 100_000_000
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps({"mediaType": MANIFEST_TYPE, "layers": [{"digest": str(DIGEST)}]}).encode()


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run(**fixtures: object) -> None:
        asyncio.run(test(**fixtures))  # type: ignore[arg-type]

    return run


@dataclass
class World:
    """The engine of a proxy whose registry is played by the test."""

    store: Store
    context: Context
    cache: Cache
    events: Events
    pushes: Pushes

    def watch(
        self, method: str, target: str, *fields: tuple[str, str], size: int | None = None
    ) -> Watched | None:
        """Begin a request."""
        path, _, query = target.partition("?")
        request = Request(method, ORIGIN, path, query, fields)
        return self.pushes.watch(request, parse_endpoint(method, path, query), size)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes,
        status: int,
        *answer: tuple[str, str],
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Pass a whole request, and what the registry answers."""
        watched = self.watch(method, target, *fields, size=len(body))
        if watched is None:
            return
        for start in range(0, len(body), 65536):
            watched.add(body[start : start + 65536])
        watched.add(b"")
        watched.answered(status, answer)

    def begin(self, location: str = PLACE) -> None:
        """Begin an upload that goes on at ``location``."""
        self.ask("POST", UPLOADS, b"", 202, ("Location", location))

    async def settled(self, digest: Digest = DIGEST) -> None:
        """Wait until what was pushed is stored, or given up."""
        await self.pushes.blob_settled(APP, digest)
        await self.pushes.manifests_settled(APP)
        await self.pushes._drafts.settled(lambda: None)  # noqa: SLF001 files are removed behind

    async def bytes_of(self, digest: Digest = DIGEST, repository: Repository = APP) -> bytes | None:
        """What is stored under a digest, if it is linked to the repository."""
        await self.settled(digest)
        found = await self.context.store_thread.run(
            lambda: self.store.blobs.find(repository, digest), None
        )
        if found is None:
            return None
        with os.fdopen(found.file, "rb") as file:
            return file.read() if found.linked else None

    def unfinished(self) -> list[Path]:
        """What lies in the folder of unfinished things."""
        return list(self.store.partials.folder.iterdir())

    def unclaimed(self) -> bool:
        """Whether no room is held."""
        claims = self.store.drafts._drafts  # noqa: SLF001 a claim for the rest would be near it
        return not claims.by_path

    def hold(self) -> threading.Event:
        """Let the disk hang until the event is set."""
        held = threading.Event()

        def wait() -> None:
            held.wait(20)

        self.pushes._drafts.submit(wait)  # noqa: SLF001 no disk hangs for the asking
        return held

    def waiting(self) -> int:
        """Bytes that wait in memory."""
        waiting = self.pushes._waiting  # noqa: SLF001 it shows nowhere else
        return waiting.most - waiting._left  # noqa: SLF001


@dataclass
class Start:
    """Starts engines on one data folder."""

    folder: Path

    @asynccontextmanager
    async def __call__(
        self, *, limit: int = LIMIT, idle_seconds: float = 60.0
    ) -> AsyncIterator[World]:
        events = Events()
        store = Store(self.folder, limit, events=events)
        upstream = HttpClient(Roots.find(None))
        now = 1e9
        context = Context.make(store, upstream, Access(b"secret"), events, lambda: now)
        cache = Cache(context, Outage(context))
        pushes = Pushes(context, idle_seconds)
        await cache.pushes.stop(1)
        cache.pushes = pushes
        try:
            yield World(store, context, cache, events, pushes)
        finally:
            await cache.close()
            store.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens behind."""
    await asyncio.to_thread(eventually, condition, within=10, what="it")


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path)


Push = Callable[[World], Awaitable[None]]


async def monolithic(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def at_once(world: World) -> None:
    world.ask("POST", f"{UPLOADS}?digest={DIGEST}", DATA, 201)


async def not_at_once(world: World) -> None:
    """The registry does not take the bytes with the POST (distribution 2.8)."""
    world.ask("POST", f"{UPLOADS}?digest={DIGEST}", DATA, 202, ("Location", PLACE))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def mount_refused(world: World) -> None:
    mount = f"{UPLOADS}?mount={DIGEST}&from=other"
    world.ask("POST", mount, b"", 202, ("Location", PLACE))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def one_patch(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA, 202, ("Location", PLACE))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def patches(world: World) -> None:
    """Each with its place, of which the registry keeps the state; the rest with the PUT."""
    world.begin(f"https://registry.example.test{PLACE}?_state=0")
    cuts = (0, 1, 70_000, 70_001, 200_000)
    for number, (first, stop) in enumerate(itertools.pairwise(cuts)):
        span = ("Content-Range", f"{first}-{stop - 1}")
        here, then = f"{PLACE}?_state={number}", f"{PLACE}?_state={number + 1}"
        world.ask("PATCH", here, DATA[first:stop], 202, ("Location", then), fields=(span,))
    world.ask("PUT", f"{PLACE}?_state=4&digest={DIGEST}", DATA[200_000:], 201)


async def rewritten_query(world: World) -> None:
    """Go's clients parse the query and write it anew, sorted."""
    world.begin(f"{PLACE}?state=a%3Db/c&id=%31&empty=")
    world.ask("PUT", f"{PLACE}?digest={DIGEST}&empty=&id=1&state=a%3Db%2Fc", DATA, 201)


async def relative(world: World) -> None:
    world.begin("7f3a")
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def another_path(world: World) -> None:
    """As Google's registries have it."""
    world.begin("/artifacts-uploads/namespaces/p/uploads/AF-x_")
    world.ask("PATCH", "/artifacts-uploads/namespaces/p/uploads/AF-x_", DATA, 202)
    world.ask("PUT", f"/artifacts-uploads/namespaces/p/uploads/AF-x_?digest={DIGEST}", b"", 201)


async def asked_between(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA[:1000], 202, ("Location", PLACE))
    world.ask("GET", PLACE, b"", 204, ("Location", f"{PLACE}?new"), ("Range", "0-999"))
    world.ask("PATCH", f"{PLACE}?new", DATA[1000:], 202)
    world.ask("PUT", f"{PLACE}?new&digest={DIGEST}", b"", 201)


FORMS = [
    monolithic,
    at_once,
    not_at_once,
    mount_refused,
    one_patch,
    patches,
    rewritten_query,
    relative,
    another_path,
    asked_between,
]


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


async def wrong_bytes(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA[:-1] + b"x", 201)


async def refused(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 400)


async def perhaps_later(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 202)


async def refused_after_all(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA, 202)
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 500)


async def part_refused(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA[:9], 202)
    world.ask("PATCH", PLACE, DATA[9:], 416, ("Location", PLACE), ("Range", "0-8"))
    world.ask("PATCH", PLACE, DATA[9:], 202)
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def overlap(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA[:100], 202)
    world.ask("PATCH", PLACE, DATA[90:], 202, fields=(("Content-Range", "90-255999"),))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def gap(world: World) -> None:
    """One part went past the proxy."""
    world.begin()
    world.ask("PATCH", PLACE, DATA[:100], 202)
    world.ask("PATCH", PLACE, DATA[200:], 202, fields=(("Content-Range", "200-255999"),))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def silent_gap(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA[200:], 202)
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def odd_range(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA, 202, fields=(("Content-Range", "all of it"),))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def coded(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201, fields=(("Content-Encoding", "gzip"),))


async def coded_at_once(world: World) -> None:
    gzip = (("Content-Encoding", "gzip"),)
    world.ask("POST", f"{UPLOADS}?digest={DIGEST}", DATA, 201, fields=gzip)


async def other_host(world: World) -> None:
    world.begin(f"https://uploads.example.test{PLACE}")
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def nowhere(world: World) -> None:
    world.begin("http://[")
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def unknown_place(world: World) -> None:
    """As after a restart in mid-upload."""
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def moved_elsewhere(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA, 202, ("Location", f"{UPLOADS}8"))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def cancelled(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA, 202)
    world.ask("DELETE", PLACE, b"", 204)
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def client_left(world: World) -> None:
    world.begin()
    watched = world.watch("PUT", f"{PLACE}?digest={DIGEST}")
    assert watched is not None
    watched.add(DATA)
    watched.broken()
    watched.answered(201, ())


async def answered_too_early(world: World) -> None:
    """A 201 to what was not whole yet."""
    world.begin()
    watched = world.watch("PUT", f"{PLACE}?digest={DIGEST}")
    assert watched is not None
    watched.add(DATA)
    watched.answered(201, ())
    watched.add(b"")


async def two_at_one_upload(world: World) -> None:
    world.begin()
    one = world.watch("PATCH", PLACE)
    assert one is not None
    assert world.watch("PATCH", PLACE) is None
    one.add(DATA[:5000])
    one.add(b"")
    one.answered(202, ())
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def no_digest(world: World) -> None:
    world.begin()
    world.ask("PUT", PLACE, DATA, 201)


async def two_digests(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}&digest={DIGEST}", DATA, 201)


async def md5(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest=md5:d41d8cd98f00b204e9800998ecf8427e", DATA, 201)


async def endless_query(world: World) -> None:
    world.begin(f"{PLACE}?{'&'.join('a' * 1000)}")
    world.ask("PUT", f"{PLACE}?digest={DIGEST}&{'&'.join('a' * 1000)}", DATA, 201)


FAILURES = [
    wrong_bytes,
    refused,
    perhaps_later,
    refused_after_all,
    part_refused,
    overlap,
    gap,
    silent_gap,
    odd_range,
    coded,
    coded_at_once,
    other_host,
    nowhere,
    unknown_place,
    moved_elsewhere,
    cancelled,
    client_left,
    answered_too_early,
    two_at_one_upload,
    no_digest,
    two_digests,
    md5,
    endless_query,
]


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


# What the store and the disk may do


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
    keeping, forever = Keeping(0.01), asyncio.Event()
    keeping.start("blob", forever.wait())
    await keeping.settled("blob")
    await keeping.settled("other")
    await keeping.stop(0.01)


@in_loop
async def test_what_goes_wrong_here_does_not_reach_the_push(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 7: an error in taking bytes in costs the blob; the bytes go on to the registry."""
    async with start() as world:
        world.begin()
        watched = world.watch("PUT", f"{PLACE}?digest={DIGEST}")
        assert watched is not None
        passed = tee(watched, world.events)
        assert passed(DATA[:1000]) == DATA[:1000]
        watched._sink = None  # type: ignore[assignment]  # noqa: SLF001 as no code of ours does
        with caplog.at_level("ERROR"):
            assert passed(DATA[1000:]) == DATA[1000:]
        assert 'hook_failed task="taking in what is pushed"' in caplog.text
        assert passed(b"") == b""


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


@in_loop
async def test_a_kill_leaves_nothing(start: Start) -> None:
    """What was unfinished when the process ended is gone after the next start."""
    async with start() as world:
        left = world.store.partials.folder / "push-abcdefgh.part"
        left.write_bytes(DATA)
    async with start() as world:
        assert world.unfinished() == []


# Manifests


def put(world: World, reference: str, *answer: tuple[str, str], **changed: object) -> None:
    """Put a manifest."""
    content = changed.get("content", MANIFEST)
    kind = str(changed.get("media_type", MANIFEST_TYPE))
    status = changed.get("status", 201)
    assert isinstance(content, bytes)
    assert isinstance(status, int)
    fields: tuple[tuple[str, str], ...] = (("Content-Type", kind),)
    if coding := changed.get("coding"):
        fields = (*fields, ("Content-Encoding", str(coding)))
    path = f"/v2/app/manifests/{reference}"
    world.ask("PUT", path, content, status, *answer, fields=fields)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@in_loop
async def test_a_manifest_by_digest(start: Start, algorithm: str) -> None:
    """Its exact bytes are kept under that digest."""
    digest = Digest.of(MANIFEST, algorithm)
    async with start() as world:
        put(world, str(digest))
        await world.settled()
        found = world.store.manifests.find(APP, digest)
        assert found is not None
        assert (found.content, found.media_type, found.linked) == (MANIFEST, MANIFEST_TYPE, True)
        assert world.waiting() == 0


@in_loop
async def test_a_manifest_by_tag(start: Start) -> None:
    """The tag is known then, as if somebody had asked for that type, and open to nobody."""
    digest = Digest.of(MANIFEST)
    async with start() as world:
        put(world, "1", ("Docker-Content-Digest", str(digest)))
        await world.settled()
        entries = world.store.tags.get(APP, "1")
        assert {accept: entry.digest for accept, entry in entries.items()} == {
            MANIFEST_TYPE: str(digest)
        }
        assert world.store.manifests.find(APP, digest) is not None
        assert not world.store.decisions.was_given(APP, digest, ANYONE)


@pytest.mark.parametrize(
    ("reference", "answer", "changed"),
    [
        ("1", (), {"status": 202}),
        ("1", (), {"status": 400}),
        ("1", (), {"coding": "gzip"}),
        ("1", (), {"media_type": "application/json"}),
        ("1", (), {"media_type": "application/vnd.oci.image.index.v1+json"}),
        ("1", (), {"media_type": "application/vnd.docker.distribution.manifest.v1+prettyjws"}),
        ("1", (), {"content": b"[]"}),
        ("1", (), {"content": b"{"}),
        ("1", (), {"content": b"[" * 100_000}),
        ("1", (), {"content": MANIFEST + b" " * 4 * 1024 * 1024}),
        ("1", (("Docker-Content-Digest", str(DIGEST)),), {}),
        (str(DIGEST), (), {}),
        (str(Digest.of(MANIFEST)), (("Docker-Content-Digest", str(DIGEST)),), {}),
    ],
)
@in_loop
async def test_an_odd_manifest_is_not_kept(
    start: Start,
    reference: str,
    answer: tuple[tuple[str, str], ...],
    changed: dict[str, object],
) -> None:
    """Nor one that the registry did not take in as what it is."""
    async with start() as world:
        put(world, reference, *answer, **changed)
        await world.settled()
        content = changed.get("content", MANIFEST)
        assert isinstance(content, bytes)
        for digest in (Digest.of(content), DIGEST):
            assert world.store.manifests.find(APP, digest) is None
        assert world.store.tags.get(APP, "1") == {}
        assert world.waiting() == 0


@in_loop
async def test_manifests_that_do_not_end(start: Start) -> None:
    """Promise 6: the memory for manifests under way is bounded, and comes back."""
    async with start() as world:
        texts = world.pushes._texts  # noqa: SLF001 it shows nowhere else
        watched = [world.watch("PUT", f"/v2/app/manifests/{n}") for n in range(50)]
        for one in watched:
            assert one is not None
            one.add(bytes(1024 * 1024))
        assert texts.size == 16 * 1024 * 1024
        put(world, str(Digest.of(MANIFEST)))
        await world.settled()
        assert world.store.manifests.find(APP, Digest.of(MANIFEST)) is not None
        for one in watched:
            assert one is not None
            one.broken()
        assert texts.size == 0

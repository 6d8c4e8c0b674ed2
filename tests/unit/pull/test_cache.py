"""The cache engine against a small registry: hits, misses, denials, and what upstream may do."""

import asyncio
import functools
import gzip
import json
import random
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrepot.auth.grants import Access
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.protocol.messages import Answer, BodyError, Request
from entrepot.protocol.routes import Blob, Manifest, parse_endpoint
from entrepot.pull.cache import Cache
from entrepot.storage.store import Store
from entrepot.transfer import download_limits
from entrepot.upstream.context import Context
from entrepot.upstream.retry import Patience
from rig.faults import Content, Exchange, FaultServer, Gate, Handler, error, first, redirect, status
from rig.process import eventually

DATA = random.Random(1).randbytes(300_000)  # noqa: S311 the same in every process
DIGEST = Digest.of(DATA)
BLOB = f"/v2/app/blobs/{DIGEST}"
OTHER_BLOB = f"/v2/other/blobs/{DIGEST}"
TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps(
    {"config": {"digest": str(Digest.of(b"{}"))}, "layers": [{"digest": str(DIGEST)}]}
).encode()
MANIFEST_DIGEST = str(Digest.of(MANIFEST))
TAG = "/v2/app/manifests/1"
BY_DIGEST = f"/v2/app/manifests/{MANIFEST_DIGEST}"
ALICE, BOB = ("Authorization", "Basic alice"), ("Authorization", "Basic bob")
CHALLENGE = {"WWW-Authenticate": 'Basic realm="registry"'}
LIMIT = 200_000_000
PATIENCE = Patience((0.01, 0.01), 0.5)
"""So short that a failure that stays costs a test nothing."""


@dataclass(frozen=True, slots=True)
class Got:
    """An answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def how(self) -> str:
        return self.headers["cache-status"].removeprefix("entrepot; ")


@dataclass
class World:
    """A cache in front of the registry."""

    server: FaultServer
    store: Store
    context: Context
    cache: Cache
    events: Events
    now: list[float] = field(default_factory=lambda: [1e9])

    async def ask(
        self, path: str, *fields: tuple[str, str], method: str = "GET", host: str = "127.0.0.1"
    ) -> Answer:
        """The answer to a client."""
        endpoint = parse_endpoint(method, path, "")
        assert isinstance(endpoint, Blob | Manifest)
        origin = Origin("http", host, self.server.port)
        return await self.cache.handle(
            Request(method, origin, path, headers=tuple(fields)), endpoint
        )

    async def get(
        self, path: str, *fields: tuple[str, str], method: str = "GET", host: str = "127.0.0.1"
    ) -> Got:
        """The answer to a client, read to its end."""
        return await read(await self.ask(path, *fields, method=method, host=host))

    async def settled(self) -> None:
        """Wait until no download runs."""
        while self.cache.downloads:
            await self.context.store_thread.run(lambda: None, None)

    def seen(self) -> list[tuple[str, str, str | None]]:
        """What the registry was asked since the last time: method, path, Authorization."""
        seen = [(r.method, r.path, r.authorization) for r in self.server.requests]
        self.server.requests.clear()
        return seen


async def read(answer: Answer) -> Got:
    headers = {name.lower(): value for name, value in answer.headers}
    if isinstance(answer.content, bytes):
        return Got(answer.status, headers, answer.content, whole=True)
    body, whole = b"", True
    try:
        while piece := await answer.content.read():
            body += piece
    except BodyError:
        whole = False
    answer.close()
    return Got(answer.status, headers, body, whole)


def only(handler: Handler, *allowed: str) -> Handler:
    """A handler for who shows one of these credentials; the others get a challenge."""

    def guarded(exchange: Exchange) -> None:
        if exchange.request.authorization in allowed:
            handler(exchange)
        else:
            error(401, "UNAUTHORIZED", "log in", CHALLENGE)(exchange)

    return guarded


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FaultServer]:
    server = FaultServer(None)
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: FaultServer) -> FaultServer:
    """A registry with one public image in ``app``, whose blob ``other`` has as well."""
    shared_server.reset()
    shared_server.routes |= {
        BLOB: Content(DATA, digest=str(DIGEST)),
        OTHER_BLOB: Content(DATA, digest=str(DIGEST)),
        TAG: Content(MANIFEST, TYPE, MANIFEST_DIGEST),
        BY_DIGEST: Content(MANIFEST, TYPE, MANIFEST_DIGEST),
    }
    return shared_server


class Run:
    """Runs a scenario in a world of its own, on an event loop of its own."""

    def __init__(self, folder: Path, server: FaultServer) -> None:
        self._folder = folder
        self._server = server

    def __call__(self, scenario: Callable[[World], Awaitable[None]], limit: int = LIMIT) -> None:
        async def run() -> None:
            async with self._world(limit) as world:
                await scenario(world)

        asyncio.run(run())

    @asynccontextmanager
    async def _world(self, limit: int) -> AsyncIterator[World]:
        events = Events()
        upstream = HttpClient(Roots(None, None), read_seconds=10)
        with closing(Store(self._folder, limit)) as store:
            now = [1e9]
            context = Context.make(
                store, upstream, Access(b"secret"), events, lambda: now[0], patience=PATIENCE
            )
            cache = Cache(context)
            world = World(self._server, store, context, cache, events, now)
            try:
                yield world
                await world.settled()
            finally:
                await cache.close()


@pytest.fixture
def run(tmp_path: Path, server: FaultServer) -> Run:
    return Run(tmp_path / "data", server)


# Blobs


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


def test_a_remembered_decision_ends(run: Run) -> None:
    """After its time a hit costs one question, for a single byte."""

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        world.seen()
        world.now[0] += 59
        assert (await world.get(BLOB, ALICE)).how == "hit"
        assert world.seen() == []
        world.now[0] += 1
        assert (await world.get(BLOB, ALICE)).how == "hit"
        asked = [request.range for request in world.server.requests]
        assert world.seen() == [("GET", BLOB, ALICE[1])]
        assert asked == ["bytes=0-0"]

    run(scenario)


def test_a_private_blob_is_given_to_who_upstream_allows(run: Run, server: FaultServer) -> None:
    """Bob and the nameless get upstream's own challenge, Alice the blob."""
    server.routes[BLOB] = only(server.routes[BLOB], ALICE[1])

    async def scenario(world: World) -> None:
        assert (await world.get(BLOB, ALICE)).body == DATA
        await world.settled()
        for fields in ((), (BOB,)):
            got = await world.get(BLOB, *fields)
            assert got.status == 401
            assert got.headers["www-authenticate"] == CHALLENGE["WWW-Authenticate"]
            assert b"UNAUTHORIZED" in got.body
        assert (await world.get(BLOB, ALICE)).how == "hit"

    run(scenario)


def test_a_second_named_client_costs_a_question(run: Run, server: FaultServer) -> None:
    """Upstream decides for Bob; the bytes come from here."""
    server.routes[BLOB] = only(server.routes[BLOB], ALICE[1], BOB[1])

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        world.seen()
        assert (await world.get(BLOB, BOB)).how == "hit"
        assert world.seen() == [("GET", BLOB, BOB[1])]

    run(scenario)


def test_a_denial_is_no_memory_of_an_allowance(run: Run, server: FaultServer) -> None:
    """When the decision has ended and upstream says no, the hit is over."""

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        server.routes[BLOB] = only(server.routes[BLOB])
        world.now[0] += 60
        assert (await world.get(BLOB, ALICE)).status == 401

    run(scenario)


@pytest.mark.parametrize("code", [400, 401, 403, 405])
def test_a_wrong_answer_to_head_is_no_refusal(run: Run, server: FaultServer, code: int) -> None:
    """public.ecr.aws refuses every HEAD of a blob; what its GET says counts."""

    async def scenario(world: World) -> None:
        for path, content in ((BLOB, DATA), (BY_DIGEST, MANIFEST)):
            await world.get(path, ALICE)
            await world.settled()
            server.routes[path] = Content(content, head_status=code)
            got = await world.get(path, BOB)
            assert (got.status, got.body) == (200, content)
            assert (await world.get(path, BOB, method="HEAD")).how == "hit"

    run(scenario)


def test_decisions_share_a_connection(run: Run, server: FaultServer) -> None:
    """What a GET sends beside its word is read: each decision but the first needs no handshake."""
    ports: list[int] = []

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        content = Content(DATA, head_status=401)

        def noted(exchange: Exchange) -> None:
            ports.append(exchange._handler.client_address[1])  # noqa: SLF001 the rig hides it
            content(exchange)

        server.routes[BLOB] = noted
        for name in ("bob", "carol", "dave"):
            got = await world.get(BLOB, ("Authorization", f"Basic {name}"))
            assert got.how == "hit"
            for thread in threading.enumerate():  # nobody but this test waits for the rest
                if thread.name == "let_go":
                    thread.join()

    run(scenario)
    assert (len(ports), len(set(ports))) == (3, 1)


def test_a_redirect_within_the_registry_decides_nothing(run: Run, server: FaultServer) -> None:
    """A registry may move a path for everybody and ask for credentials at its end."""
    server.routes[BLOB] = redirect("/v2/moved/blob")
    server.routes["/v2/moved/blob"] = only(Content(DATA), ALICE[1])

    async def scenario(world: World) -> None:
        assert (await world.get(BLOB, ALICE)).body == DATA
        await world.settled()
        for fields in ((), (BOB,)):
            got = await world.get(BLOB, *fields)
            assert (got.status, got.body == DATA) == (401, False)

    run(scenario)


def test_a_content_network_shows_a_blob_by_its_length(run: Run, server: FaultServer) -> None:
    """Redirects are followed, without credentials, for one byte; the registry is asked once."""
    away = redirect(f"http://localhost:{server.port}/cdn")
    server.routes[BLOB] = only(away, ALICE[1], BOB[1])
    server.routes["/cdn"] = Content(DATA)

    async def scenario(world: World) -> None:
        assert (await world.get(BLOB, ALICE)).body == DATA
        await world.settled()
        world.seen()
        assert (await world.get(BLOB, BOB)).how == "hit"
        assert [request.range for request in world.server.requests] == ["bytes=0-0"] * 2
        assert world.seen() == [("GET", BLOB, BOB[1]), ("GET", "/cdn", None)]
        assert (await world.get(BLOB)).status == 401

    run(scenario)


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


def test_a_fetch_allows_its_client_once_it_is_verified(run: Run, server: FaultServer) -> None:
    """Until then it makes nothing public; who began it is not asked about again meanwhile."""
    gate = Gate(100_000)
    server.routes[BLOB] = Content(DATA, gate=gate)

    async def scenario(world: World) -> None:
        leader = await world.ask(BLOB)
        again = await world.ask(BLOB)
        assert [request.range for request in world.server.requests] == [None]
        bob = await world.ask(BLOB, BOB)
        assert [request.range for request in world.server.requests] == [None, "bytes=0-0"]
        gate.open()
        assert all([(await read(answer)).whole for answer in (leader, again, bob)])
        await world.settled()
        world.seen()
        assert (await world.get(BLOB, ("Authorization", "Basic carol"))).how == "hit"
        assert world.seen() == []

    run(scenario)


def test_a_refusal_meanwhile_voids_what_a_fetch_would_allow(run: Run, server: FaultServer) -> None:
    """A repository that turns private during a download is not public at its end."""
    gate = Gate(100_000)
    server.routes[BLOB] = Content(DATA, gate=gate)

    async def scenario(world: World) -> None:
        leader = await world.ask(BLOB)
        server.routes |= {path: only(server.routes[path], ALICE[1]) for path in (BLOB, TAG)}
        assert (await world.get(TAG)).status == 401
        gate.open()
        await read(leader)
        await world.settled()
        assert (await world.get(BLOB)).status == 401
        assert (await world.get(BLOB, BOB)).status == 401

    run(scenario)


AWAY = status(503, b"", {"Retry-After": "120"})


def test_what_was_refused_meanwhile_is_not_given_in_an_outage(
    run: Run, server: FaultServer
) -> None:
    """The end of a download does not write that anybody was given what nobody may have by then."""
    gate = Gate(100_000)
    server.routes[BLOB] = Content(DATA, gate=gate)

    async def scenario(world: World) -> None:
        leader = await world.ask(BLOB)
        server.routes |= {path: only(server.routes[path], ALICE[1]) for path in (BLOB, TAG)}
        assert (await world.get(TAG)).status == 401
        gate.open()
        await read(leader)
        await world.settled()
        server.routes |= dict.fromkeys((BLOB, TAG), AWAY)
        assert (await world.get(BLOB)).status == 503
        # Nor is it said to be public, which would let another registry claim it.
        server.routes[BLOB] = Content(bytes(len(DATA)), digest=str(DIGEST))
        got = await world.get(BLOB, BOB, host="localhost")
        assert (got.body == DATA, got.whole) == (False, False)

    run(scenario)


@pytest.mark.parametrize("change", ["refused", "deleted"])
def test_what_became_of_a_manifest_meanwhile_counts(
    run: Run, server: FaultServer, change: str
) -> None:
    """An answer that was on its way brings nothing back, for an outage either."""
    gate = Gate(10)
    server.routes[BY_DIGEST] = Content(MANIFEST, TYPE, MANIFEST_DIGEST, gate=gate)

    async def scenario(world: World) -> None:
        asking = asyncio.create_task(world.get(BY_DIGEST))
        await asyncio.to_thread(server.await_request, path=BY_DIGEST)
        server.routes[TAG] = only(server.routes[TAG])
        if change == "deleted":
            await _changed(world, "DELETE", BY_DIGEST)
        else:
            assert (await world.get(TAG)).status == 401
        gate.open()
        assert (await asking).body == MANIFEST
        server.routes[BY_DIGEST] = AWAY
        assert (await world.get(BY_DIGEST)).status == 503
        repository = Repository(Origin("http", "127.0.0.1", server.port), "app")
        found = world.store.manifests.find(repository, Digest.parse(MANIFEST_DIGEST))
        assert (found is None) is (change == "deleted")

    run(scenario)


def test_a_deletion_before_the_first_byte_counts(run: Run, server: FaultServer) -> None:
    """A fetch that upstream had not yet answered does not bring a deleted blob back."""
    wait = threading.Event()
    server.routes[BLOB] = Content(DATA, wait=wait)

    async def scenario(world: World) -> None:
        asking = asyncio.create_task(world.get(BLOB))
        await asyncio.to_thread(server.await_request, path=BLOB)
        await _changed(world, "DELETE", BLOB)
        wait.set()
        assert (await asking).body == DATA
        await world.settled()
        server.routes[BLOB] = AWAY
        assert (await world.get(BLOB)).status == 503

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


def test_an_answer_of_another_digest_allows_nothing(run: Run, server: FaultServer) -> None:
    """A length may be the same by chance; a digest that differs is a word against it."""
    other = bytes(len(DATA))

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        server.routes[BLOB] = Content(other, digest=str(Digest.of(other)))
        got = await world.get(BLOB, BOB)
        assert (got.body == DATA, got.whole) == (False, False)

    run(scenario)


def test_another_algorithm_says_nothing_against_it(run: Run, server: FaultServer) -> None:
    """Distribution names a blob by its sha256 whatever digest it was asked for by."""
    digest = Digest.of(DATA, "sha512")
    path = f"/v2/app/blobs/{digest}"
    server.routes[path] = Content(DATA, digest=str(DIGEST))

    async def scenario(world: World) -> None:
        assert (await world.get(path, ALICE)).body == DATA
        await world.settled()
        assert (await world.get(path, BOB)).how == "hit"

    run(scenario)


@pytest.mark.parametrize("ranges", [False, True])
def test_an_empty_blob_has_no_first_byte(run: Run, server: FaultServer, *, ranges: bool) -> None:
    """Whether a registry then answers 416 or sends the nothing that there is."""
    path = f"/v2/app/blobs/{Digest.of(b'')}"
    unsatisfiable = status(416, headers={"Content-Range": "bytes */0"})

    def empty(exchange: Exchange) -> None:
        refused = ranges and exchange.request.range is not None
        (unsatisfiable if refused else Content(b""))(exchange)

    server.routes[path] = empty

    async def scenario(world: World) -> None:
        assert (await world.get(path, ALICE)).status == 200
        await world.settled()
        assert (await world.get(path, BOB)).how == "hit"

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


def test_a_registry_that_only_claims_to_have_a_blob_gets_no_bytes(
    run: Run, server: FaultServer
) -> None:
    """Whoever answers HEAD with 200 must send the bytes itself."""
    server.routes[BLOB] = only(server.routes[BLOB], ALICE[1])
    claimed = f"/v2/evil/blobs/{DIGEST}"
    server.routes[claimed] = Content(bytes(len(DATA)))

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        for _ in range(2):
            await world.get(claimed, method="HEAD", host="localhost")
            got = await world.get(claimed, host="localhost")
            assert not got.whole
            assert DATA[:1000] not in got.body
            await world.settled()

    run(scenario)


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


def test_nothing_of_one_answer_is_kept_for_the_next(run: Run, server: FaultServer) -> None:
    """Cookies, rate limits and challenges are the first client's alone."""
    personal = {"Set-Cookie": "a=b", "RateLimit-Remaining": "1", **CHALLENGE}
    server.routes[BLOB] = Content(DATA, headers=personal)
    server.routes[TAG] = Content(MANIFEST, TYPE, MANIFEST_DIGEST, headers=personal)

    async def scenario(world: World) -> None:
        for path in (BLOB, TAG):
            await world.get(path)
            await world.settled()
            got = await world.get(path)
            assert got.how.startswith("hit")
            assert not {name.lower() for name in personal} & set(got.headers)

    run(scenario)


def test_an_upstream_that_cannot_be_reached_is_a_502(run: Run, server: FaultServer) -> None:
    """In a registry's form, naming the host and no path."""

    def gone(exchange: Exchange) -> None:
        exchange.cut()

    server.routes |= dict.fromkeys((BLOB, TAG, BY_DIGEST), gone)

    async def scenario(world: World) -> None:
        for path in (BLOB, TAG, BY_DIGEST):
            got = await world.get(path)
            (problem,) = json.loads(got.body)["errors"]
            assert (got.status, problem["code"]) == (502, "UNAVAILABLE")
            assert str(DIGEST) not in problem["message"]

    run(scenario)


def test_an_absurd_length_is_no_error(run: Run, server: FaultServer) -> None:
    """Whatever upstream announces, the client gets an answer."""
    server.routes[BLOB] = status(404, b"", {"Content-Length": "9" * 5000})

    async def scenario(world: World) -> None:
        assert (await world.get(BLOB, method="HEAD")).status == 404

    run(scenario)


# Without the store


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


@pytest.mark.parametrize("table", ["Cache", "Settings"])
@pytest.mark.parametrize("database", ["blobs", "index"])
@pytest.mark.parametrize("path", [BLOB, TAG, BY_DIGEST])
def test_a_broken_database_does_not_break_a_pull(
    run: Run, database: str, table: str, path: str
) -> None:
    """The bytes come from upstream as if there were no cache."""

    async def scenario(world: World) -> None:
        connection = sqlite3.connect(world.store.folder / database / "cache.db")
        connection.execute(f"DROP TABLE {table}")
        connection.close()
        got = await world.get(path)
        assert (got.status, got.whole) == (200, True)
        assert got.body == (DATA if path == BLOB else MANIFEST)
        await world.settled()

    run(scenario)


def test_a_partial_folder_that_is_gone_does_not_break_a_pull(run: Run) -> None:
    """Nor does a folder that takes no files."""

    async def scenario(world: World) -> None:
        world.store.partials.folder.rmdir()
        assert (await world.get(BLOB)).body == DATA
        assert (await world.get(TAG)).body == MANIFEST

    run(scenario)


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


# Manifests


def test_a_tag_is_fetched_once_and_then_revalidated(run: Run) -> None:
    """A warm pull costs one HEAD, which counts for what the manifest lists."""

    async def scenario(world: World) -> None:
        first_time = await world.get(TAG, ALICE, ("Accept", TYPE))
        assert (first_time.status, first_time.body) == (200, MANIFEST)
        assert (await world.get(BLOB, ALICE)).body == DATA
        await world.settled()
        world.now[0] += 1000
        world.seen()
        again = await world.get(TAG, ALICE, ("Accept", TYPE))
        assert (again.body, again.how) == (MANIFEST, "hit; detail=revalidated")
        assert again.headers["content-type"] == TYPE
        assert again.headers["docker-content-digest"] == MANIFEST_DIGEST
        assert (await world.get(BY_DIGEST, ALICE)).how == "hit"
        assert (await world.get(BLOB, ALICE)).how == "hit"
        assert world.seen() == [("HEAD", TAG, ALICE[1])]

    run(scenario)


def test_a_tag_that_moved_is_fetched(run: Run, server: FaultServer) -> None:
    """The new manifest is served, never the old one."""
    moved = b'{"layers": []}'

    async def scenario(world: World) -> None:
        await world.get(TAG)
        server.routes[TAG] = Content(moved, TYPE, str(Digest.of(moved)))
        got = await world.get(TAG)
        assert (got.body, got.how) == (moved, "fwd=miss; stored")
        assert (await world.get(TAG)).how == "hit; detail=revalidated"

    run(scenario)


@pytest.mark.parametrize("code", [401, 403, 404, 429, 500])
def test_a_refused_tag_is_never_answered_from_the_cache(
    run: Run, server: FaultServer, code: int
) -> None:
    """Upstream's own answer, though the manifest is here."""

    async def scenario(world: World) -> None:
        await world.get(TAG)
        server.routes[TAG] = error(code, "NO", "because")
        got = await world.get(TAG)
        assert got.status == code
        assert b"because" in got.body

    run(scenario)


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("path", [BLOB, TAG, BY_DIGEST])
def test_what_passes_is_not_noticed(run: Run, server: FaultServer, path: str, code: int) -> None:
    """A failure in between costs one more question, of the first client and of the next."""
    well = server.routes[path]

    async def scenario(world: World) -> None:
        for how in ("fwd=miss; stored", "hit"):
            server.routes[path] = first(1, error(code, "NO", "now", {"Retry-After": "0"}), well)
            got = await world.get(path, ALICE)
            assert (got.status, got.how.partition("; detail")[0]) == (200, how)
            assert len({seen[0] for seen in world.seen()}) == 1
            await world.settled()
            world.now[0] += 3600
        assert world.events.counts["upstream_retries"] == 2
        assert world.events.counts["upstream_failed"] == 0

    run(scenario)


@pytest.mark.parametrize("path", [TAG, BY_DIGEST])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_head_without_a_length_is_given_one(
    run: Run, server: FaultServer, path: str, *, compressed: bool
) -> None:
    """A pull of docker ends where HEAD names none: the manifest is fetched, as it would be next."""
    content = Content(MANIFEST, TYPE, MANIFEST_DIGEST, chunked=not compressed)
    if compressed:
        content.body = gzip.compress(MANIFEST)
        content.headers["Content-Encoding"] = "gzip"
    server.routes[path] = content

    async def scenario(world: World) -> None:
        for how in ("fwd=miss; stored", "hit"):
            got = await world.get(path, method="HEAD")
            assert (got.status, got.body, got.how.partition("; detail")[0]) == (200, b"", how)
            assert got.headers["content-length"] == str(len(MANIFEST))
            assert "content-encoding" not in got.headers
        assert [seen[0] for seen in world.seen()].count("GET") == 1
        assert (await world.get(path)).body == MANIFEST

    run(scenario)


def test_a_refusal_is_asked_for_once(run: Run, server: FaultServer) -> None:
    """Only what may pass is waited out."""
    server.routes[BLOB] = error(403, "DENIED", "no", {"Retry-After": "0"})

    async def scenario(world: World) -> None:
        assert (await world.get(BLOB)).status == 403
        assert world.seen() == [("GET", BLOB, None)]

    run(scenario)


def test_another_accept_is_another_answer(run: Run, server: FaultServer) -> None:
    """A tag is negotiated: what one client was given is not given to who accepts other types."""
    index = b'{"manifests": []}'

    def negotiate(exchange: Exchange) -> None:
        wants_index = "index" in exchange.request.headers.get("accept", "")
        content = index if wants_index else MANIFEST
        Content(content, TYPE, str(Digest.of(content)))(exchange)

    server.routes[TAG] = negotiate

    async def scenario(world: World) -> None:
        for _ in range(2):
            assert (await world.get(TAG, ("Accept", "a/index"))).body == index
            assert (await world.get(TAG, ("Accept", TYPE))).body == MANIFEST

    run(scenario)


def test_a_manifest_by_digest_is_a_hit(run: Run) -> None:
    """It cannot change, so nothing is asked while the decision lasts."""

    async def scenario(world: World) -> None:
        assert (await world.get(BY_DIGEST)).how == "fwd=miss; stored"
        world.seen()
        got = await world.get(BY_DIGEST)
        assert (got.body, got.how, got.headers["content-type"]) == (MANIFEST, "hit", TYPE)
        assert (await world.get(BY_DIGEST, method="HEAD")).how == "hit"
        assert world.seen() == []

    run(scenario)


def test_a_private_manifest_is_given_to_who_upstream_allows(run: Run, server: FaultServer) -> None:
    """By digest and by tag."""
    server.routes |= {path: only(server.routes[path], ALICE[1]) for path in (TAG, BY_DIGEST)}

    async def scenario(world: World) -> None:
        for path in (TAG, BY_DIGEST):
            assert (await world.get(path, ALICE)).body == MANIFEST
            for fields in ((), (BOB,)):
                got = await world.get(path, *fields)
                assert (got.status, got.headers["www-authenticate"]) == (
                    401,
                    'Basic realm="registry"',
                )

    run(scenario)


@pytest.mark.parametrize("path", [TAG, BY_DIGEST])
def test_a_manifest_of_other_bytes_is_refused(run: Run, server: FaultServer, path: str) -> None:
    """What does not hash to its digest is neither served nor kept."""
    server.routes[path] = Content(b'{"evil": 1}', TYPE, MANIFEST_DIGEST)

    async def scenario(world: World) -> None:
        for _ in range(2):
            got = await world.get(path)
            assert (got.status, b"DIGEST_INVALID" in got.body) == (502, True)
            assert b"evil" not in got.body
        assert world.events.counts["digest_mismatched"] == 2

    run(scenario)


@pytest.mark.parametrize(
    ("content", "media_type", "headers"),
    [
        (b'{"signatures": []}', "application/vnd.docker.distribution.manifest.v1+prettyjws", {}),
        (b'{"layers": []}'.ljust(5 * 1024**2), TYPE, {}),
        (b"compressed", TYPE, {"Content-Encoding": "br"}),
    ],
)
def test_what_cannot_be_kept_is_passed_on(
    run: Run, server: FaultServer, content: bytes, media_type: str, headers: dict[str, str]
) -> None:
    """Schema 1, more than 4 MiB, and encoded bodies come whole, every time from upstream."""
    server.routes[TAG] = Content(content, media_type, headers=headers)

    async def scenario(world: World) -> None:
        for _ in range(2):
            got = await world.get(TAG)
            assert (got.status, got.body, got.whole) == (200, content, True)
        assert [seen[0] for seen in world.seen()] == ["GET", "GET"]

    run(scenario)


def test_tags_asked_for_at_once_cost_few_gets(run: Run, server: FaultServer) -> None:
    """Clients with one credential share the answer, but for who came after it was asked for."""
    wait = threading.Event()
    server.routes[TAG] = Content(MANIFEST, TYPE, MANIFEST_DIGEST, wait=wait)

    async def scenario(world: World) -> None:
        asking = [asyncio.create_task(world.get(TAG)) for _ in range(20)]
        await asyncio.to_thread(server.await_request, path=TAG)
        await _turns(world)
        wait.set()
        assert [got.body for got in await asyncio.gather(*asking)] == [MANIFEST] * 20
        assert len(world.seen()) <= 3

    run(scenario)


def test_digests_asked_for_at_once_cost_one_get(run: Run, server: FaultServer) -> None:
    """What cannot change is shared until it has come."""
    wait = threading.Event()
    server.routes[BY_DIGEST] = Content(MANIFEST, TYPE, MANIFEST_DIGEST, wait=wait)

    async def scenario(world: World) -> None:
        asking = [asyncio.create_task(world.get(BY_DIGEST)) for _ in range(5)]
        await asyncio.to_thread(server.await_request, path=BY_DIGEST)
        await _turns(world)
        asking += [asyncio.create_task(world.get(BY_DIGEST)) for _ in range(5)]
        await _turns(world)
        wait.set()
        assert [got.body for got in await asyncio.gather(*asking)] == [MANIFEST] * 10
        assert len(world.seen()) == 1

    run(scenario)


def test_a_condition_is_its_clients_alone(run: Run, server: FaultServer) -> None:
    """Who sent no If-None-Match is not told «not modified» because another one did."""
    wait = threading.Event()
    server.routes[TAG] = Content(MANIFEST, TYPE, MANIFEST_DIGEST, wait=wait)

    async def scenario(world: World) -> None:
        condition = ("If-None-Match", f'"{MANIFEST_DIGEST}"')
        conditional = asyncio.create_task(world.get(TAG, condition))
        await asyncio.to_thread(server.await_request, path=TAG)
        plain = asyncio.create_task(world.get(TAG))
        await _turns(world)
        wait.set()
        assert (await conditional).status == 304
        assert ((await plain).status, (await plain).body) == (200, MANIFEST)

    run(scenario)


async def _turns(world: World) -> None:
    """Let tasks that wait for the store come to where they wait for upstream."""
    for _ in range(20):
        await world.context.store_thread.run(lambda: None, None)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_changed_tag_is_forgotten(run: Run, method: str) -> None:
    """After a push or a delete the next pull asks by GET."""

    async def scenario(world: World) -> None:
        await world.get(TAG)
        await _changed(world, method, TAG)
        world.seen()
        assert (await world.get(TAG)).how == "fwd=miss; stored"
        assert [seen[0] for seen in world.seen()] == ["GET"]

    run(scenario)


@pytest.mark.parametrize("path", [BLOB, BY_DIGEST])
def test_a_deleted_object_is_asked_for_again(run: Run, server: FaultServer, path: str) -> None:
    """What upstream has no more, nobody is given from here."""

    async def scenario(world: World) -> None:
        await world.get(path)
        await world.settled()
        server.routes[path] = error(404, "UNKNOWN", "gone")
        await _changed(world, "DELETE", path)
        assert (await world.get(path)).status == 404

    run(scenario)


async def _changed(world: World, method: str, path: str) -> None:
    endpoint = parse_endpoint(method, path, "")
    assert isinstance(endpoint, Blob | Manifest)
    origin = Origin("http", "127.0.0.1", world.server.port)
    await world.cache.changed(method, Request(method, origin, path), endpoint)


# Registries that stall


def test_a_refusal_that_stalls_does_not_stop_the_others(run: Run, server: FaultServer) -> None:
    """The end of an answer that nobody needs is not waited for on the event loop."""
    done = threading.Event()
    alive: list[bool] = []

    async def scenario(world: World) -> None:
        loop = asyncio.get_running_loop()
        await world.get(BLOB, ALICE)
        await world.settled()

        def stall(exchange: Exchange) -> None:
            exchange.start(403, {"Content-Length": "10"})
            alive.append(all(_turns_once(loop) for _ in range(2000)))
            exchange.write(bytes(10))
            done.set()

        server.routes[BLOB] = stall
        assert (await world.get(BLOB, BOB)).status == 403
        await asyncio.to_thread(done.wait, 20)
        assert alive == [True]

    run(scenario)


def _turns_once(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop gets to something new within a second; for another thread."""
    turned = threading.Event()
    loop.call_soon_threadsafe(turned.set)
    return turned.wait(1)


def test_a_call_that_outlives_the_loop_ends_quietly(run: Run) -> None:
    """A request that stalls when the proxy stops raises nothing in its thread."""
    begun, release, threads = threading.Event(), threading.Event(), list[threading.Thread]()

    def stalled() -> None:
        threads.append(threading.current_thread())
        begun.set()
        release.wait(10)

    async def scenario(world: World) -> None:
        task = asyncio.create_task(world.context.threads.call(stalled))
        await asyncio.to_thread(begun.wait)
        task.cancel()

    run(scenario)
    release.set()
    threads[0].join()


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
    await asyncio.to_thread(eventually, arrived, within=10, what="its first bytes")
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

"""Tags: upstream is asked every time, by HEAD where that can spare the GET."""

import asyncio
import threading

import pytest

from entrepot.protocol.identifiers import Digest
from entrepot.pull.manifests.tag_revalidation import Method, Verdict, first_method, judge
from rig.faults import Content, Exchange, FaultServer, error
from unit.pull.world import (
    ALICE,
    BLOB,
    BY_DIGEST,
    DATA,
    MANIFEST,
    MANIFEST_DIGEST,
    TAG,
    TYPE,
    Run,
    World,
    turns,
)

HELD = Digest.of(b"manifest")


@pytest.mark.parametrize(
    ("method", "known", "how"),
    [
        ("GET", True, Method.HEAD),
        ("GET", False, Method.GET),
        ("HEAD", True, Method.HEAD),
        ("HEAD", False, Method.HEAD),
    ],
)
def test_a_known_tag_costs_a_head_first(
    method: str,
    known: bool,  # noqa: FBT001 a column of the table
    how: Method,
) -> None:
    """HEAD is tried where it can spare the GET, and only there."""
    assert first_method(method, known=known) is how


@pytest.mark.parametrize(
    ("status", "digest", "held", "verdict"),
    [
        (200, HELD, True, Verdict.SERVE),
        (200, HELD, False, Verdict.FETCH),
        (200, None, True, Verdict.FETCH),
        (200, None, False, Verdict.FETCH),
        *((status, HELD, True, Verdict.RELAY) for status in (204, 206, 302, 304)),
        *((status, HELD, True, Verdict.RELAY) for status in (400, 401, 403, 404, 405, 429)),
        *((status, None, False, Verdict.RELAY) for status in (500, 502, 503, 504)),
    ],
)
def test_only_a_200_with_the_held_digest_is_served_from_the_cache(
    status: int,
    digest: Digest | None,
    held: bool,  # noqa: FBT001 a column of the table
    verdict: Verdict,
) -> None:
    """A tag is never silently stale: no other answer of upstream leads to the held manifest."""
    assert judge(status, digest, held=held) is verdict


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


def test_tags_asked_for_at_once_cost_few_gets(run: Run, server: FaultServer) -> None:
    """Clients with one credential share the answer, but for who came after it was asked for."""
    wait = threading.Event()
    server.routes[TAG] = Content(MANIFEST, TYPE, MANIFEST_DIGEST, wait=wait)

    async def scenario(world: World) -> None:
        asking = [asyncio.create_task(world.get(TAG)) for _ in range(20)]
        await asyncio.to_thread(server.await_request, path=TAG)
        await turns(world)
        wait.set()
        assert [got.body for got in await asyncio.gather(*asking)] == [MANIFEST] * 20
        assert len(world.seen()) <= 3

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
        await turns(world)
        wait.set()
        assert (await conditional).status == 304
        assert ((await plain).status, (await plain).body) == (200, MANIFEST)

    run(scenario)

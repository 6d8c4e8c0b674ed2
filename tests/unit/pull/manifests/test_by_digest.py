"""Manifests by digest, and what is fetched and kept of them."""

import asyncio
import gzip
import threading

import pytest

from rig.faults import Content, Exchange, FaultServer
from rig.multipart import parts_of
from unit.pull.world import BY_DIGEST, MANIFEST, MANIFEST_DIGEST, TAG, TYPE, Run, World, turns


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


@pytest.mark.parametrize("path", [TAG, BY_DIGEST])
@pytest.mark.parametrize(
    "content",
    [
        Content(MANIFEST, TYPE),
        Content(MANIFEST, TYPE, MANIFEST_DIGEST, head_status=405),
        Content(MANIFEST, TYPE, head_status=501),
        Content(MANIFEST, TYPE, chunked=True),
    ],
)
def test_a_head_has_a_digest_whatever_the_registry_says(
    run: Run, server: FaultServer, path: str, content: Content
) -> None:
    """One that names none, or knows no HEAD: the manifest is fetched where that alone tells."""
    server.routes[path] = content

    async def scenario(world: World) -> None:
        for _ in range(2):
            got = await world.get(path, method="HEAD")
            assert (got.status, got.body) == (200, b"")
            assert got.headers["docker-content-digest"] == MANIFEST_DIGEST
            assert got.headers["content-length"] == str(len(MANIFEST))
            assert got.headers["content-type"] == TYPE
        assert (await world.get(path)).body == MANIFEST

    run(scenario)


@pytest.mark.parametrize("path", [TAG, BY_DIGEST])
@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=0-", 206, MANIFEST),
        ("bytes=10-19", 206, MANIFEST[10:20]),
        ("bytes=-5", 206, MANIFEST[-5:]),
        ("bytes=99999-", 416, None),
        ("nonsense", 200, MANIFEST),
    ],
)
def test_a_part_of_a_manifest(
    run: Run, server: FaultServer, path: str, asked: str, status: int, body: bytes | None
) -> None:
    """As containerd asks, by `bytes=0-`; upstream is asked for the whole, since that is stored."""

    async def scenario(world: World) -> None:
        for _ in range(2):  # a miss, then a hit or a revalidated tag
            got = await world.get(path, ("Range", asked))
            assert got.status == status
            if body is not None:
                assert got.body == body
                assert got.headers["content-length"] == str(len(body))
            if status == 206:
                place = got.headers["content-range"]
                first = MANIFEST.index(body or b"")
                assert place == f"bytes {first}-{first + len(body or b'') - 1}/{len(MANIFEST)}"
        assert (await world.get(path)).body == MANIFEST
        assert {seen.range for seen in server.requests} == {None}
        assert [seen.method for seen in server.requests].count("GET") == 1

    run(scenario)


@pytest.mark.parametrize(("path", "most"), [(TAG, 2), (BY_DIGEST, 1)])
def test_each_who_asks_at_once_gets_the_part_that_it_wants(
    run: Run, server: FaultServer, path: str, most: int
) -> None:
    """They share a question, and its answer is the whole."""
    leave = threading.Event()
    content = server.routes[path]

    def held(exchange: Exchange) -> None:
        assert leave.wait(10)
        content(exchange)

    server.routes[path] = held

    async def scenario(world: World) -> None:
        wanted = ("bytes=0-3", "ignored", "bytes=4-5,0-0")
        asking = (world.get(path, ("Range", value)) for value in wanted)
        tasks = [asyncio.create_task(one) for one in asking]
        await turns(world)
        leave.set()
        part, whole, several = await asyncio.gather(*tasks)
        assert (part.status, part.body) == (206, MANIFEST[:4])
        assert (whole.status, whole.body) == (200, MANIFEST)
        found = parts_of(several.headers["content-type"], several.body)
        assert found == [(4, MANIFEST[4:6]), (0, MANIFEST[:1])]
        assert len(server.requests) <= most

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


def test_digests_asked_for_at_once_cost_one_get(run: Run, server: FaultServer) -> None:
    """What cannot change is shared until it has come."""
    wait = threading.Event()
    server.routes[BY_DIGEST] = Content(MANIFEST, TYPE, MANIFEST_DIGEST, wait=wait)

    async def scenario(world: World) -> None:
        asking = [asyncio.create_task(world.get(BY_DIGEST)) for _ in range(5)]
        await asyncio.to_thread(server.await_request, path=BY_DIGEST)
        await turns(world)
        asking += [asyncio.create_task(world.get(BY_DIGEST)) for _ in range(5)]
        await turns(world)
        wait.set()
        assert [got.body for got in await asyncio.gather(*asking)] == [MANIFEST] * 10
        assert len(world.seen()) == 1

    run(scenario)

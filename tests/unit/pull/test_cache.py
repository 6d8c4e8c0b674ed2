"""The cache in front of a small registry: what holds for blobs and manifests alike."""

import asyncio
import json
import sqlite3
import threading

import pytest

from rig.faults import Content, Exchange, FaultServer, error, first, status
from unit.pull.world import (
    ALICE,
    BLOB,
    BOB,
    BY_DIGEST,
    CHALLENGE,
    DATA,
    DIGEST,
    MANIFEST,
    MANIFEST_DIGEST,
    TAG,
    TYPE,
    Run,
    World,
    changed,
)


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


# Changes that pass by


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_changed_tag_is_forgotten(run: Run, method: str) -> None:
    """After a push or a delete the next pull asks by GET."""

    async def scenario(world: World) -> None:
        await world.get(TAG)
        await changed(world, method, TAG)
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
        await changed(world, "DELETE", path)
        assert (await world.get(path)).status == 404

    run(scenario)


# Without the store


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

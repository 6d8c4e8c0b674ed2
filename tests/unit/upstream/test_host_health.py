"""What the context learns from an upstream that does not answer, and how it finds the end of it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from entrepot.auth.grants import Access
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request
from entrepot.protocol.network_reach import Reach
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from entrepot.upstream.gateway import AskOptions
from rig.faults import Exchange, FaultServer, redirect, status
from rig.process import eventually

TAG = "/v2/app/manifests/1"
ALICE = ("Authorization", "Basic alice")


@dataclass
class World:
    """A context between two hosts; one of them may hang until it is mended."""

    server: FaultServer
    other: FaultServer
    context: Context
    now: list[float]
    mended: threading.Event = field(default_factory=threading.Event)

    def request(self, method: str = "HEAD", path: str = TAG) -> Request:
        return Request(method, origin_of(self.server), path, headers=(ALICE,))

    def hangs(self, exchange: Exchange) -> None:
        self.mended.wait(30)
        exchange.cut()

    def asked(self) -> list[tuple[str, str, str | None]]:
        return [(seen.method, seen.path, seen.authorization) for seen in self.server.requests]

    def states(self) -> dict[Origin, str]:
        """What a monitor is told of each host."""
        return {origin: one.state for origin, one in self.context.gateway.upstreams().items()}

    async def fails(self, request: Request) -> None:
        with pytest.raises(UpstreamError):
            await self.context.gateway.send_patiently(request, AskOptions(fallback=True))

    async def until(self, condition: Callable[[], object]) -> None:
        await asyncio.to_thread(eventually, condition, within=30, what="a trial")


def origin_of(server: FaultServer) -> Origin:
    return Origin("http", "127.0.0.1", server.port)


Run = Callable[[Callable[[World], Awaitable[None]]], None]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    server, other = FaultServer(None), FaultServer(None)

    def run(scenario: Callable[[World], Awaitable[None]]) -> None:
        async def play() -> None:
            now = [1000.0]
            with closing(Store(tmp_path / "data", 10**7)) as store:
                context = Context.make(
                    store,
                    HttpClient(Roots(None, None)),
                    Access(b"secret"),
                    Events(),
                    lambda: now[0],
                    answer_seconds=0.3,
                )
                with closing(context):
                    world = World(server, other, context, now)
                    await scenario(world)
                    world.mended.set()

        asyncio.run(play())

    yield run
    server.stop()
    other.stop()


def drips(exchange: Exchange) -> None:
    """Send a byte often enough for any deadline between two of them."""
    ended = threading.Event()
    try:
        for _ in range(100):
            exchange.raw(b"H")
            ended.wait(0.1)
    except OSError:
        exchange.cut()


@pytest.mark.parametrize("kind", ["hangs", "drips"])
def test_the_whole_head_must_come_in_time(run: Run, kind: str) -> None:
    """Where something else could be served; then nobody else waits, but for what cannot be had."""

    async def scenario(world: World) -> None:
        world.server.routes[TAG] = world.hangs if kind == "hangs" else drips
        origin = origin_of(world.server)
        await world.fails(world.request())
        assert world.states() == {origin: "slow"}
        assert not world.context.health.may_ask(origin, fallback=True)
        assert world.context.health.may_ask(origin, fallback=False)

    run(scenario)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_who_is_tried_again_is_asked_what_it_hung_on(run: Run, method: str) -> None:
    """As the client that met it, but never by GET: a registry that hangs may answer a ping."""

    async def scenario(world: World) -> None:
        world.server.routes[TAG] = world.hangs
        origin = origin_of(world.server)
        await world.fails(world.request(method))
        world.server.requests.clear()
        world.now[0] += 10
        assert not world.context.health.may_ask(origin, fallback=True)
        await world.until(world.asked)
        assert world.asked() == [("HEAD", TAG, ALICE[1])]
        assert world.context.health.is_away(origin)
        world.server.routes[TAG] = status(404)
        world.now[0] += 20
        assert not world.context.health.may_ask(origin, fallback=True)
        await world.until(lambda: world.states() == {origin: "ok"})
        assert world.context.health.may_ask(origin, fallback=True)

    run(scenario)


def test_a_login_is_not_tried_again(run: Run) -> None:
    """Of a token request that hung only the place is asked, without who asked or for what."""

    async def scenario(world: World) -> None:
        world.server.routes["/token"] = world.hangs
        request = Request("POST", origin_of(world.server), "/token", "scope=a", (ALICE,))
        with pytest.raises(UpstreamError):
            await world.context.gateway.pass_on(request, (ALICE,), b"password=x", fallback=True)
        world.server.requests.clear()
        world.now[0] += 10
        assert world.context.health.is_away(request.origin)
        await world.until(world.asked)
        assert world.asked() == [("HEAD", "/token", None)]

    run(scenario)


@pytest.mark.parametrize(("method", "slow"), [("HEAD", True), ("GET", False)])
def test_who_redirects_to_a_host_that_hangs_is_slow_too(
    run: Run, method: str, *, slow: bool
) -> None:
    """By HEAD that is a manifest; a content network for blobs is no reason for stale tags."""

    async def scenario(world: World) -> None:
        world.server.routes[TAG] = redirect(f"{origin_of(world.other)}{TAG}")
        world.other.routes[TAG] = world.hangs
        send = world.context.gateway.send_patiently
        with pytest.raises(UpstreamError):
            await send(world.request(method), AskOptions(fallback=True))
        assert world.context.health.may_ask(origin_of(world.server), fallback=True) is not slow

    run(scenario)


def test_a_host_behind_a_redirect_is_back_when_it_answers(run: Run) -> None:
    """Nobody asks it by itself, and it is not listed as away for ever."""

    async def scenario(world: World) -> None:
        world.server.routes[TAG] = redirect(f"{origin_of(world.other)}{TAG}")
        there = origin_of(world.other)
        for _ in range(3):
            world.context.health.failed(UpstreamError("", silent=there, connected=False))
        assert world.states() == {there: "down"}
        world.other.routes[TAG] = status(200)
        (await world.context.gateway.send(world.request())).close()
        assert world.states() == {there: "ok", origin_of(world.server): "ok"}

    run(scenario)


def test_who_may_not_be_led_as_far_asks_alone(run: Run) -> None:
    """Promise 9: a client on this machine reaches what others do not; nor do they by joining it."""

    async def scenario(world: World) -> None:
        together = asyncio.Barrier(2)

        async def ask(request: Request) -> Reach | None:
            await together.wait()
            return request.reach

        requests = [replace(world.request(), reach=reach) for reach in Reach]
        asking = (world.context.ask_once("key", request, ask) for request in requests[:2])
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*asking)
        assert answers == [(request.reach, True) for request in requests[:2]]

    run(scenario)

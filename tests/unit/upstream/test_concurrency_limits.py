"""How many calls go upstream at once, who comes next, and what ends them."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from entrepot.http_client.cancellable_call import AbortedError, Call, making, uses
from entrepot.http_client.errors import AbandonedError, UpstreamError
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request
from entrepot.upstream import concurrency_limits as rules
from entrepot.upstream.concurrency_limits import Bounds, Slots
from entrepot.upstream.worker_threads import WorkerThreads
from rig.process import eventually

HANGING, OTHER = Origin("https", "hanging.test", 443), Origin("https", "other.test", 443)
SMALL = Bounds(origin=3, share=2, client=4, all=100, wait=0.05, outlives=0.05)
PATIENT = Bounds(origin=3, share=2, client=4, all=100, wait=20)


@dataclass
class Client:
    """A client, there until it leaves."""

    address: str
    there: bool = True
    looks: int = 0
    """How often somebody looked after it."""
    sent: list[Origin] = field(default_factory=list)

    def is_there(self) -> bool:
        self.looks += 1
        return self.there

    def ask(self, origin: Origin) -> Request:
        return Request(
            "GET",
            origin,
            "/v2/",
            is_awaited=self.is_there,
            client=self.address,
            sending=partial(self.sent.append, origin),
        )


ALICE, BOB, CAROL = Client("192.0.2.1"), Client("192.0.2.2"), Client("192.0.2.3")


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


async def taken(slots: Slots, *requests: Request | None) -> list[Call]:
    return [await slots.take(request) for request in requests]


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_an_origin_that_is_full_holds_up_no_other() -> None:
    """Nor does a client that has its share of one: others get the rest, and it gets others."""

    async def scenario() -> None:
        slots = Slots(SMALL)
        await taken(slots, ALICE.ask(HANGING), ALICE.ask(HANGING))
        assert slots.take_now(ALICE.ask(HANGING)) is None, "its share"
        assert slots.take_now(BOB.ask(HANGING)) is not None
        assert slots.take_now(CAROL.ask(HANGING)) is None, "the origin's bound"
        assert slots.take_now(ALICE.ask(OTHER)) is not None
        assert slots.take_now(ALICE.ask(OTHER)) is not None
        assert slots.take_now(ALICE.ask(Origin("https", "third.test", 443))) is None, "its bound"
        assert slots.take_now(None) is not None, "work of our own"

    run(scenario)


def test_who_waits_holds_nothing() -> None:
    """A client that waits for one origin has all of its own places for the others."""

    async def scenario() -> None:
        slots = Slots(PATIENT)
        await taken(slots, BOB.ask(HANGING), BOB.ask(HANGING), CAROL.ask(HANGING))
        waiting = [asyncio.create_task(slots.take(ALICE.ask(HANGING))) for _ in range(50)]
        await _turns()
        await taken(slots, ALICE.ask(OTHER), ALICE.ask(OTHER))
        for task in waiting:
            task.cancel()

    run(scenario)


def test_there_is_a_last_bound_for_all() -> None:
    """However many origins and clients there are; work of our own counts too."""

    async def scenario() -> None:
        slots = Slots(Bounds(all=2, wait=0.05))
        (call, _) = await taken(slots, None, ALICE.ask(OTHER))
        with pytest.raises(UpstreamError, match="too many requests were unanswered"):
            await slots.take(BOB.ask(HANGING))
        slots.give_back(call)
        await slots.take(BOB.ask(HANGING))

    run(scenario)


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ((ALICE, ALICE), "too many requests of this client were unanswered for 0.05 s"),
        ((BOB, BOB, CAROL), "3 requests to it were unanswered for 0.05 s"),
    ],
)
def test_nobody_waits_longer_than_a_deadline(before: tuple[Client, ...], reason: str) -> None:
    """And is told why; the place is not lost for who comes after."""

    async def scenario() -> None:
        slots = Slots(SMALL)
        calls = await taken(slots, *(client.ask(HANGING) for client in before))
        with pytest.raises(UpstreamError, match=f"{HANGING}: {reason}"):
            await slots.take(ALICE.ask(HANGING))
        slots.give_back(calls[0])
        assert slots.take_now(ALICE.ask(HANGING)) is not None

    run(scenario)


def test_places_go_to_the_clients_in_turn() -> None:
    """Who asked for much does not come before who asked for little."""
    came: list[str] = []

    async def wait(slots: Slots, client: Client) -> None:
        call = await slots.take(client.ask(HANGING))
        came.append(client.address)
        await _turns()
        slots.give_back(call)

    async def scenario() -> None:
        slots = Slots(Bounds(origin=1, wait=20))
        first = await slots.take(ALICE.ask(HANGING))
        async with asyncio.TaskGroup() as group:
            for client in (ALICE, ALICE, ALICE, BOB, CAROL):
                group.create_task(wait(slots, client))
                await _turns()
            slots.give_back(first)
        alice, bob, carol = (client.address for client in (ALICE, BOB, CAROL))
        assert came == [alice, bob, carol, alice, alice]

    run(scenario)


def test_a_place_that_comes_too_late_goes_on() -> None:
    """Whoever gave up in the moment in which it got its place gives it back."""

    async def scenario() -> None:
        slots = Slots(Bounds(origin=1, wait=20))
        first = await slots.take(ALICE.ask(HANGING))
        waiting = asyncio.create_task(slots.take(BOB.ask(HANGING)))
        await _turns()
        slots.give_back(first)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert slots.take_now(CAROL.ask(HANGING)) is not None

    run(scenario)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often after who has left."""
    monkeypatch.setattr(rules, "SWEEP_SECONDS", 0.01)


@pytest.mark.usefixtures("soon")
def test_who_waits_and_leaves_is_dropped() -> None:
    """At once, and for whom nobody waits nothing is asked."""

    async def scenario() -> None:
        client = Client("192.0.2.4")
        slots = Slots(Bounds(origin=1, wait=20))
        threads = WorkerThreads(slots)
        await slots.take(BOB.ask(HANGING))
        waiting = asyncio.create_task(threads.call(lambda: None, by=client.ask(HANGING)))
        await _turns()
        client.there = False
        with pytest.raises(AbandonedError):
            await waiting
        assert not client.sent

    run(scenario)


def hang(ours: socket.socket, begun: threading.Event) -> bytes:
    """Wait for a byte that never comes."""
    uses(ours)
    begun.set()
    data = ours.recv(1)
    uses(ours)
    return data


@pytest.mark.usefixtures("soon")
def test_a_call_ends_soon_after_its_client_left() -> None:
    """Its thread wakes, its place is free, and it says nothing of the host."""

    async def scenario() -> None:
        client, begun = Client("192.0.2.4"), threading.Event()
        slots = Slots(Bounds(origin=1, outlives=0.05))
        ours, theirs = socket.socketpair()
        with ours, theirs:
            calling = asyncio.create_task(
                WorkerThreads(slots).call(partial(hang, ours, begun), by=client.ask(HANGING))
            )
            await asyncio.to_thread(begun.wait)
            seen = partial(eventually, lambda: client.looks >= 3, within=30, what="looks after it")
            await asyncio.to_thread(seen)
            assert not calling.done(), "its client is there"
            client.there = False
            with pytest.raises(AbandonedError) as ended:
                await calling
            assert (ended.value.silent, ended.value.passing) == (None, False)
            assert client.sent == [HANGING]
            assert slots.take_now(BOB.ask(HANGING)) is not None

    run(scenario)


@pytest.mark.usefixtures("soon")
def test_a_call_in_ordinary_trouble_outlives_its_client() -> None:
    """What is answered within a few seconds is taken in, though nobody waits for it."""

    async def scenario() -> None:
        client, begun = Client("192.0.2.4", there=False), threading.Event()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            threads = WorkerThreads(Slots(Bounds(outlives=10)))
            calling = asyncio.create_task(
                threads.call(partial(hang, ours, begun), by=client.ask(HANGING))
            )
            await asyncio.to_thread(begun.wait)
            await asyncio.sleep(10 * rules.SWEEP_SECONDS)
            theirs.send(b"x")
            assert await calling == b"x"

    run(scenario)


def test_an_ended_call_begins_nothing_more() -> None:
    """Nor does it touch a connection that is no longer its own."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        call = Call(HANGING)
        with making(call):
            uses(ours)
            uses(None)  # it is back in its pool
            call.abort()
            with pytest.raises(AbortedError):
                uses(theirs)
        ours.send(b"x")
        assert theirs.recv(1) == b"x"
        uses(ours)  # on a thread that makes no call


def test_a_call_waits_and_runs_within_one_time() -> None:
    """What waiting for a place took is not granted once more."""

    async def scenario() -> None:
        slots = Slots(Bounds(origin=1))
        await slots.take(ALICE.ask(HANGING))
        with pytest.raises(UpstreamError, match=r"unanswered for 0\.05 s"):
            await WorkerThreads(slots).call(lambda: None, 0.05, by=BOB.ask(HANGING))

    run(scenario)

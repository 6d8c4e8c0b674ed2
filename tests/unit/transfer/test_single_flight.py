"""One question for all who ask the same; of what may change, only for who came before it went."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from entrepot.http_client.errors import AbandonedError, UpstreamError
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request
from entrepot.transfer import single_flight as rules
from entrepot.transfer.single_flight import Audience, Flights

REQUEST = Request("HEAD", Origin("https", "registry.test", 443), "/v2/app/manifests/1")


@dataclass
class Asking:
    """Numbers the questions, and answers each when it is told to."""

    until_sent: bool
    flights: Flights = field(default_factory=Flights)
    asked: list[Request] = field(default_factory=list)
    answers: list["asyncio.Future[str]"] = field(default_factory=list)

    async def ask(self, request: Request) -> str:
        self.asked.append(request)
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]

    async def client(self, request: Request = REQUEST) -> "asyncio.Task[tuple[str, bool]]":
        """One more client, that has got as far as it gets by itself."""
        task = asyncio.create_task(
            self.flights.join("key", request, self.ask, until_sent=self.until_sent)
        )
        await turns()
        return task

    def send(self) -> None:
        """Let the latest question go upstream."""
        self.asked[-1].sending()

    async def answer(self, number: int, text: str) -> None:
        self.answers[number].set_result(text)
        await turns()


async def turns() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


def test_what_cannot_change_is_shared_until_it_is_answered() -> None:
    async def scenario() -> None:
        asking = Asking(until_sent=False)
        first = await asking.client()
        asking.send()
        second = await asking.client()
        await asking.answer(0, "a")
        assert (await first, await second) == (("a", True), ("a", False))
        third = await asking.client()
        await asking.answer(1, "b")
        assert await third == ("b", True)

    run(scenario)


def test_what_may_change_is_shared_until_it_is_sent() -> None:
    """Who comes after gets the answer to a question that was sent after he came."""

    async def scenario() -> None:
        asking = Asking(until_sent=True)
        first, second = await asking.client(), await asking.client()
        assert len(asking.asked) == 1, "it is not sent yet"
        asking.send()
        third = await asking.client()
        assert len(asking.asked) == 2
        await asking.answer(1, "new")
        assert await third == ("new", True)
        await asking.answer(0, "old")
        assert (await first, await second) == (("old", True), ("old", False))

    run(scenario)


def test_of_what_may_change_two_are_under_way() -> None:
    """Whoever comes later shares the one that is sent when one of them ends."""

    async def scenario() -> None:
        asking = Asking(until_sent=True)
        clients = []
        for _ in range(2):
            clients.append(await asking.client())
            asking.send()
        late = [await asking.client() for _ in range(50)]
        assert len(asking.asked) == 2
        await asking.answer(0, "a")
        assert len(asking.asked) == 3
        asking.send()
        await asking.answer(2, "c")
        answers = await asyncio.gather(*late)
        assert {text for text, _ in answers} == {"c"}
        assert sum(first for _, first in answers) == 1
        await asking.answer(1, "b")
        assert [(await one)[0] for one in clients] == ["a", "b"]
        assert not asking.flights._lanes, "nothing is kept of what has ended"  # noqa: SLF001

    run(scenario)


def test_who_comes_late_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both hang, it is said; and the next one tries again."""
    monkeypatch.setattr(rules, "_WAIT_SECONDS", 0.05)

    async def scenario() -> None:
        asking = Asking(until_sent=True)
        for _ in range(2):
            await asking.client()
            asking.send()
        with pytest.raises(UpstreamError, match="asked 2 times, and not answered"):
            await (await asking.client())
        for number in range(2):
            await asking.answer(number, "")
        late = await asking.client()
        await asking.answer(2, "c")
        assert await late == ("c", True)

    run(scenario)


def test_a_failure_reaches_all() -> None:
    async def scenario() -> None:
        asking = Asking(until_sent=True)
        clients = [await asking.client() for _ in range(3)]
        asking.answers[0].set_exception(UpstreamError("no"))
        for client in clients:
            with pytest.raises(UpstreamError, match="no"):
                await client
        assert len(asking.asked) == 1

    run(scenario)


def test_it_is_awaited_while_anybody_is_there() -> None:
    """The first one's leaving ends nothing for the others."""

    async def scenario() -> None:
        asking, there = Asking(until_sent=False), {"first": True, "second": True}
        for name in there:
            await asking.client(replace(REQUEST, is_awaited=partial(there.__getitem__, name)))
        (asked,) = asking.asked
        assert asked.is_awaited()
        there["first"] = False
        assert asked.is_awaited()
        there["second"] = False
        assert not asked.is_awaited()

    run(scenario)


def test_who_comes_as_it_is_ended_asks_again() -> None:
    """All had left, so it was ended; whoever joined in that moment is not told of it."""

    async def scenario() -> None:
        asking = Asking(until_sent=False)
        gone = await asking.client(replace(REQUEST, is_awaited=lambda: False))
        late = await asking.client()
        asking.answers[0].set_exception(AbandonedError())
        with pytest.raises(AbandonedError):
            await gone
        await turns()
        await asking.answer(1, "b")
        assert await late == ("b", True)

    run(scenario)


def test_an_audience_forgets_who_has_left() -> None:
    audience, there = Audience(), [True, True]
    for number in range(2):
        audience.join(replace(REQUEST, is_awaited=partial(there.__getitem__, number)))
    there[1] = False
    assert audience.is_there()
    there[:] = [False, True]
    assert not audience.is_there()

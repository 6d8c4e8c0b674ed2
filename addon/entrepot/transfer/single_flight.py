"""Single flight: one question upstream for all who ask the same at once.

Two kinds. What cannot change (content by digest, a decision that counts from when it was asked)
is joined until it is answered. What can change meanwhile, a tag, is joined only until the question
is sent: a pull that begins after a push was answered must not get what was asked before it. Of
these, two of a kind are under way at most; who comes later shares the next, which is sent when one
of them ends. So many clients at once cost a few questions, and each gets an answer that is no
older than its own request.

A flight is awaited as long as anybody of those who joined is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from entrepot.http_client.errors import AbandonedError, UpstreamError
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request

_AT_ONCE = 2
_WAIT_SECONDS = 30.0
"""How long to wait for one of those that are under way to end."""

_OURS = Request("", Origin("http", "localhost", 80), "")
"""Stands for the client of what is done for none: it never leaves."""

T = TypeVar("T")


class Audience:
    """The clients that wait for one answer."""

    def __init__(self) -> None:
        self._waits: list[Callable[[], bool]] = []

    def join(self, request: Request) -> None:
        """Count one more client that waits."""
        self._waits.append(request.is_awaited)

    def is_there(self) -> bool:
        """Whether any of them is; who has left will not come back."""
        while self._waits and not self._waits[-1]():
            self._waits.pop()
        return bool(self._waits)


@dataclass(slots=True, eq=False)
class _Flight:
    """One question that is asked for its audience."""

    audience: Audience = field(default_factory=Audience)
    task: "asyncio.Future[Any] | None" = None


@dataclass(slots=True)
class _Lane:
    """The flights of one question."""

    boarding: _Flight | None = None
    """The one that may be joined."""
    under_way: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Flights:
    """The questions that are under way, by their key, on one event loop."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, _Lane] = {}

    async def join(
        self,
        key: Hashable,
        request: Request,
        ask: Callable[[Request], Awaitable[T]],
        *,
        until_sent: bool = False,
    ) -> tuple[T, bool]:
        """The answer to all whose ``key`` is the same, and whether the caller asked first.

        ``ask`` gets the first one's request, on behalf of all. ``until_sent``: only who came before
        it was sent gets it. An exception reaches all of them.
        """
        while True:
            lane = self._lanes.setdefault(key, _Lane())
            flight, first = lane.boarding, lane.boarding is None
            if flight is None:
                flight = lane.boarding = _Flight()
                made = self._fly(key, lane, flight, request, ask, until_sent=until_sent)
                flight.task = asyncio.ensure_future(made)
                flight.task.add_done_callback(_seen)
            flight.audience.join(request)
            assert flight.task is not None  # noqa: S101 for the type
            try:
                return await asyncio.shield(flight.task), first
            except AbandonedError:  # all others had left just before this one came
                if not request.is_awaited():
                    raise

    async def once(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """Do once what is no client's own for all who want it; whether the caller was the first.

        An exception reaches all of them.
        """
        return await self.join(key, _OURS, lambda _: make())

    async def _fly(
        self,
        key: Hashable,
        lane: _Lane,
        flight: _Flight,
        request: Request,
        ask: Callable[[Request], Awaitable[T]],
        *,
        until_sent: bool,
    ) -> T:
        def close() -> None:
            if lane.boarding is flight:
                lane.boarding = None

        shared = replace(
            request,
            is_awaited=flight.audience.is_there,
            sending=close if until_sent else _stays_open,
        )
        try:
            await _turn(request, lane)
            lane.under_way += 1
            try:
                return await ask(shared)
            finally:
                lane.under_way -= 1
                lane.ended.set()
        finally:
            close()
            if not lane.under_way and lane.boarding is None:
                self._lanes.pop(key, None)


async def _turn(request: Request, lane: _Lane) -> None:
    """Wait until less than two of a kind are under way. Raises ``UpstreamError``."""
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            while lane.under_way >= _AT_ONCE:
                lane.ended.clear()
                await lane.ended.wait()
    except TimeoutError:
        reason = f"the same was asked {_AT_ONCE} times, and not answered"
        raise UpstreamError(f"{request.origin}: {reason}") from None


def _seen(task: "asyncio.Future[Any]") -> None:
    """Take note of an exception, even where nobody waits any more."""
    if not task.cancelled():
        task.exception()


def _stays_open() -> None:
    """Let others join what is sent already."""

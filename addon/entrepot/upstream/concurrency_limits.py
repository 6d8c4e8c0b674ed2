"""How many calls may go upstream at once: to each registry, for each client, and in all.

A registry that accepts and never answers keeps as many threads as it may have, and one more call
to it waits. So that this costs nobody else anything:

- the calls to one origin are bounded, and those for one client, and of an origin's a client has
  no more than its share: who asks the same registry still comes through;
- who waits holds nothing: a call has all of its places or none;
- places are given to the clients of an origin in turn, not to who asked most;
- nobody waits longer than a deadline;
- a call for which no client waits any more is ended after a few seconds (what is in ordinary
  trouble outlives its client), and who waits for a place and has left is dropped.

The bound for all is the last resort: a thread costs little, so it is far above the others.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from entrepot.http_client.cancellable_call import Call
from entrepot.http_client.errors import AbandonedError, UpstreamError
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request

SWEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many calls at once, and how long to wait; seconds."""

    origin: int = 32
    """As many as connections are kept to a host."""
    share: int = 24
    """Of these for one client."""
    client: int = 64
    all: int = 1024
    wait: float = 30.0
    outlives: float = 5.0
    """How long after its begin a call may go on for nobody."""


_K = TypeVar("_K")
_Pair: TypeAlias = tuple[Origin | None, str]
"""To whom, and for which client (an address; empty where it is for none)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    origin: Origin | None
    is_awaited: Callable[[], bool]
    place: "asyncio.Future[Call]"


class Slots:
    """The places of calls; belongs to one event loop, which is there when it is used."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._running: set[Call] = set()
        self._origins: Counter[Origin] = Counter()
        self._clients: Counter[str] = Counter()
        self._pairs: Counter[_Pair] = Counter()
        self._waiting: OrderedDict[_Pair, deque[_Waiter]] = OrderedDict()
        self._sweeping = False

    async def take(self, by: Request | None = None, within: float | None = None) -> Call:
        """A place for a call on behalf of ``by``, or (None) for work of our own.

        Raises ``UpstreamError`` where none is free in time, ``within`` seconds at most.
        """
        pair, is_awaited = _of(by)
        if pair not in self._waiting and self._is_free(pair):
            return self._taken(pair, is_awaited)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(pair[0], is_awaited, loop.create_future())
        self._waiting.setdefault(pair, deque()).append(waiter)
        self._sweep_soon(loop)
        seconds = self._bounds.wait if within is None else min(within, self._bounds.wait)
        try:
            async with asyncio.timeout(seconds):
                return await waiter.place
        except BaseException as error:
            self._withdraw(pair, waiter)
            if isinstance(error, TimeoutError):
                raise UpstreamError(f"{self._busy(pair)} for {seconds:g} s") from None
            raise

    def take_now(self, by: Request | None = None) -> Call | None:
        """The same, where a place is free at once."""
        pair, is_awaited = _of(by)
        free = pair not in self._waiting and self._is_free(pair)
        return self._taken(pair, is_awaited) if free else None

    def give_back(self, call: Call) -> None:
        """End the use of a place: it is the next one's."""
        self._running.remove(call)
        if call.origin is not None:
            _less(self._origins, call.origin)
        if call.client:
            _less(self._clients, call.client)
        _less(self._pairs, (call.origin, call.client))
        self._hand_on()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many calls wait for a place."""
        return sum(map(len, self._waiting.values()))

    def _is_free(self, pair: _Pair) -> bool:
        origin, client = pair
        bounds = self._bounds
        if len(self._running) >= bounds.all:
            return False
        if origin is not None and self._origins[origin] >= bounds.origin:
            return False
        if not client:
            return True
        own = origin is None or self._pairs[pair] < bounds.share
        return own and self._clients[client] < bounds.client

    def _taken(self, pair: _Pair, is_awaited: Callable[[], bool]) -> Call:
        loop = asyncio.get_running_loop()
        origin, client = pair
        call = Call(origin, client, is_awaited, loop.time())
        self._running.add(call)
        if origin is not None:
            self._origins[origin] += 1
        if client:
            self._clients[client] += 1
        self._pairs[pair] += 1
        self._sweep_soon(loop)
        return call

    def _hand_on(self) -> None:
        """Give the places that are free to who waits, one each, in turn."""
        for pair in list(self._waiting):
            if not self._is_free(pair):
                continue
            queue = self._waiting[pair]
            while queue and (waiter := queue.popleft()):
                if not waiter.place.done():
                    waiter.place.set_result(self._taken(pair, waiter.is_awaited))
                    break
            self._waiting.move_to_end(pair)
            self._forget_if_none(pair)

    def _withdraw(self, pair: _Pair, waiter: _Waiter) -> None:
        """Take back who waits no more, with the place that it may just have got."""
        if waiter in self._waiting.get(pair, ()):
            self._waiting[pair].remove(waiter)
            self._forget_if_none(pair)
        place = waiter.place
        if place.done() and not place.cancelled() and not place.exception():
            self.give_back(place.result())

    def _forget_if_none(self, pair: _Pair) -> None:
        if not self._waiting[pair]:
            del self._waiting[pair]

    def _busy(self, pair: _Pair) -> str:
        origin, client = pair
        if origin is not None and self._origins[origin] >= self._bounds.origin:
            return f"{origin}: {self._bounds.origin} requests to it were unanswered"
        if self._clients[client] >= self._bounds.client or self._pairs[pair] >= self._bounds.share:
            return f"{origin}: too many requests of this client were unanswered"
        return f"{origin or 'upstream'}: too many requests were unanswered"

    # Who left

    def _sweep_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_SECONDS, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what nobody waits for any more; again in a second, while there is anything."""
        self._sweeping = False
        for waiter in [one for queue in self._waiting.values() for one in queue]:
            if not waiter.place.done() and not waiter.is_awaited():
                waiter.place.set_exception(AbandonedError(waiter.origin))
        begun = loop.time() - self._bounds.outlives
        for call in self._running:
            if call.began <= begun and not call.is_aborted and not call.is_awaited():
                call.abort()
        if self._running or self._waiting:
            self._sweep_soon(loop)


def _of(by: Request | None) -> tuple[_Pair, Callable[[], bool]]:
    return ((None, ""), lambda: True) if by is None else ((by.origin, by.client), by.is_awaited)


def _less(counter: Counter[_K], key: _K) -> None:
    """One fewer; of what there is none nothing is kept."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]

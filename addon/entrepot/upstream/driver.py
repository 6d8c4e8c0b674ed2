"""The one driver of all I/O that the cache engine asks for: upstream, the store, the clock.

Decisions live in ``access`` and ``freshness``; content lives in ``store``; this connects them to
the event loop. The store is used from one thread only, since each has a database connection of
its own. Where the store fails, its answer is «nothing known» and the pull goes on (promise 7).
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from entrepot.auth.grants import Access
from entrepot.events import Events
from entrepot.http_client.client import Upstream
from entrepot.http_client.response import Reply
from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.messages import Answer, Body, Request, cache_status, end_to_end
from entrepot.storage.store import Store, StoreBusyError, StoreError
from entrepot.transfer.bodies import ReplyBody
from entrepot.transfer.single_flight import Flights
from entrepot.upstream.concurrency_limits import Slots
from entrepot.upstream.gateway import ANSWER_SECONDS, Asking
from entrepot.upstream.redirected_answers import describing, is_elsewhere, problem
from entrepot.upstream.retry import PATIENCE, Patience

_REST_SECONDS = 10.0
"""How long the store is left alone when another process holds it: each question to it costs
seconds then, and a pull asks many."""

_SMALL = 256 * 1024
_DAWDLING_SECONDS = 10.0

_OURS = Request("", Origin("http", "localhost", 80), "")
"""Stands for the client of what is done for none: it never leaves."""

T = TypeVar("T")


class Driver(Asking):
    """What the engine works with. Everything here belongs to one event loop."""

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        access: Access,
        events: Events,
        clock: Callable[[], float],
        wall: Callable[[], float] | None = None,
        patience: Patience = PATIENCE,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        offline: bool = False,
        slots: Slots | None = None,
    ) -> None:
        """The times, ``offline`` and ``slots`` are those of :class:`Asking`."""
        super().__init__(
            upstream,
            events,
            clock,
            wall,
            patience,
            answer_seconds=answer_seconds,
            offline=offline,
            slots=slots,
        )
        self.store = store
        self.access = access
        self._store_pool = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store_rests_until = 0.0
        self._flights = Flights()

    async def stored(self, function: Callable[[], T], otherwise: T) -> T:
        """Run a method of the store; ``otherwise`` where the store fails."""
        if self.clock() < self._store_rests_until:
            return otherwise
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._store_pool, function)
        except StoreBusyError as error:
            self._store_rests_until = self.clock() + _REST_SECONDS
            self.events.warn_once("store_busy", reason=error)
            return otherwise
        except StoreError as error:
            self.events.warn_once("store_failed", reason=error)
            return otherwise

    def store_from_thread(self, function: Callable[[], T]) -> T:
        """Run a method of the store for another thread. Raises ``StoreError``."""
        return self._store_pool.submit(function).result()

    async def together(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """Do once what is no client's own for all who want it; whether the caller was the first.

        An exception reaches all of them.
        """
        return await self._flights.join(key, _OURS, lambda _: make())

    async def ask_together(
        self,
        key: Hashable,
        request: Request,
        ask: Callable[[Request], Awaitable[T]],
        *,
        until_sent: bool = False,
    ) -> tuple[T, bool]:
        """Ask upstream once for all who ask the same and may be led as far.

        See :meth:`Flights.join`.
        """
        key = (self.reach_of(request), key)
        return await self._flights.join(key, request, ask, until_sent=until_sent)

    def _is_as_anybody(self, request: Request) -> bool:
        return super()._is_as_anybody(request) or self.access.credential(request).anonymous

    async def relay(
        self,
        request: Request,
        reply: Reply,
        *,
        head: bytes | None = None,
        how: tuple[str, ...] | None = None,
    ) -> Answer:
        """Upstream's own answer, as it came; ``head`` is what was already read of its body.

        ``how`` is said in ``Cache-Status``, where it is not a miss. Of what came from where a
        redirect led, little is passed on (``elsewhere``).
        """
        how = how or ("fwd=miss", f"fwd-status={reply.status}")
        if is_elsewhere(request, reply):
            unfit = problem(request, reply)
            if unfit is not None:
                reply.close()
                return unfit.adding(cache_status(*how))
            reply.headers = describing(reply.headers)
        if request.method == "HEAD" or reply.status in (204, 304):
            reply.close()
            return relayed(reply, b"", reply.length, *how)
        if head is None and reply.length is not None and reply.length <= _SMALL:
            content = await self.call(lambda: reply.read_all(_SMALL), by=request)
            reply.close()
            return relayed(reply, content, reply.length, *how)
        body = self.body(request, reply, head=head or b"")
        return relayed(reply, body, reply.length, *how)

    def body(
        self, request: Request, reply: Reply, *, head: bytes = b"", digest: Digest | None = None
    ) -> ReplyBody:
        """What upstream sends, read for a client as it takes it; see :class:`ReplyBody`."""
        return ReplyBody(reply, partial(self.call, by=request), head=head, digest=digest)

    async def beginning(self, request: Request, reply: Reply, most: int) -> tuple[bytes, bool]:
        """The first bytes of a body, ``most`` and one at most, and whether they are the whole.

        A body that dawdles is left after ten seconds. Raises ``UpstreamError``.
        """
        content, until = b"", self.clock() + _DAWDLING_SECONDS
        while len(content) <= most and self.clock() < until:
            part = await self.call(partial(reply.read, most + 1 - len(content)), by=request)
            content += part
            if not part or len(content) == reply.length:
                reply.close()
                return content, True
        return content, False

    def close(self) -> None:
        """End the idle connections and the store's thread."""
        self._store_pool.submit(self.store.disconnect)
        self._store_pool.shutdown(wait=True)
        self.upstream.close()


def relayed(reply: Reply, content: bytes | Body, size: int | None, *how: str) -> Answer:
    """An answer of upstream's fields, and of this content and size."""
    headers = (
        *(pair for pair in end_to_end(reply.headers) if pair[0].lower() != "content-length"),
        cache_status(*how),
    )
    if size is not None:
        headers = (*headers, ("Content-Length", str(size)))
    return Answer(reply.status, headers, content)

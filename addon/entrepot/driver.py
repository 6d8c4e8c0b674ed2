"""The one driver of all I/O that the cache engine asks for: upstream, the store, the clock.

Decisions live in ``access`` and ``freshness``; content lives in ``store``; this connects them to
the event loop. Upstream is asked on daemon threads, so that one that stalls never delays the
exit; the store is used from one thread only, since each has a database connection of its own.
Where the store fails, its answer is «nothing known» and the pull goes on (promise 7).
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Any, TypeVar

from entrepot.access import NEUTRAL, Access
from entrepot.body import ReplyBody
from entrepot.events import Events
from entrepot.message import Answer, Body, Fields, Request, cache_status, end_to_end
from entrepot.patience import FAILURES, PATIENCE, Patience
from entrepot.store import Store, StoreBusyError, StoreError
from entrepot.upstream import Follow, Reply, Target, Upstream, UpstreamError

_CALLS_AT_ONCE = 128
_REST_SECONDS = 10.0
"""How long the store is left alone when another process holds it: each question to it costs
seconds then, and a pull asks many."""

_SMALL = 256 * 1024
_DAWDLING_SECONDS = 10.0
_FORWARDED_NEUTRAL = frozenset({"accept", "user-agent", "accept-language"})

T = TypeVar("T")


class Driver:
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
    ) -> None:
        """``clock`` never jumps: what is remembered in memory counts by it.

        ``wall`` is the time of day, for what is kept on disk or told to clients; without it
        ``clock`` is.
        """
        self.store = store
        self.upstream = upstream
        self.access = access
        self.events = events
        self.clock = clock
        self._patience = patience
        self.wall = wall or clock
        self._calls = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._store_pool = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store_rests_until = 0.0
        self._flights: dict[Hashable, asyncio.Future[Any]] = {}

    async def call(self, function: Callable[[], T]) -> T:
        """Run a blocking function on a thread of its own."""
        loop = asyncio.get_running_loop()
        await self._calls.acquire()
        future: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(lambda _: self._calls.release())
        threading.Thread(target=_run, args=(function, future, loop), daemon=True).start()
        return await asyncio.shield(future)  # who gives up waiting does not end the thread

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

    async def send(
        self,
        request: Request,
        *,
        method: str | None = None,
        extra: Fields = (),
        follow: Follow = Follow.ANY,
        downgrade: bool = False,
    ) -> Reply:
        """Ask upstream what the client asked, as the client. Raises ``UpstreamError``."""
        headers = (*forwarded(request), *extra)
        target = Target(request.origin, request.target)
        self.events.count("upstream_requests")
        return await self.call(
            lambda: self.upstream.send(
                method or request.method, target, headers, follow=follow, downgrade=downgrade
            )
        )

    async def pass_on(self, request: Request, fields: Fields, content: bytes | None) -> Reply:
        """Send what a client sent, with these fields; redirects are its own to follow.

        Raises ``UpstreamError``.
        """
        target = Target(request.origin, request.target)
        self.events.count("upstream_requests")
        return await self.call(
            lambda: self.upstream.send(
                request.method, target, fields, follow=Follow.NO, content=content
            )
        )

    async def send_patiently(
        self,
        request: Request,
        *,
        method: str | None = None,
        extra: Fields = (),
        follow: Follow = Follow.ANY,
        downgrade: bool = False,
    ) -> Reply:
        """As :meth:`send`, but asked again for a few seconds where that may help (``patience``).

        The last answer counts, whatever it is. Raises ``UpstreamError``.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        for attempts in count(1):
            try:
                reply = await self.send(
                    request, method=method, extra=extra, follow=follow, downgrade=downgrade
                )
            except UpstreamError as error:
                pause = self._patience.pause(attempts, clock() - began) if error.passing else None
                if pause is None or not await _still_awaited(request, pause):
                    raise
            else:
                if reply.status not in FAILURES:
                    return reply
                after = reply.value("Retry-After")
                pause = self._patience.pause(attempts, clock() - began, reply.status, after)
                if pause is None or not await _still_awaited(request, pause):
                    self.events.warn(
                        "upstream_failed",
                        of=f"{request.origin}{request.path}",
                        reason=f"it answered {reply.status}",
                    )
                    return reply
                await self.call(reply.drain)
            self.events.count("upstream_retries")
        raise AssertionError  # count() has no end

    async def relay(
        self,
        request: Request,
        reply: Reply,
        *,
        head: bytes | None = None,
        how: tuple[str, ...] | None = None,
    ) -> Answer:
        """Upstream's own answer, as it came; ``head`` is what was already read of its body.

        ``how`` is said in ``Cache-Status``, where it is not a miss.
        """
        how = how or ("fwd=miss", f"fwd-status={reply.status}")
        if request.method == "HEAD" or reply.status in (204, 304):
            reply.close()
            return relayed(reply, b"", reply.length, *how)
        if head is None and reply.length is not None and reply.length <= _SMALL:
            content = await self.call(lambda: reply.read_all(_SMALL))
            reply.close()
            return relayed(reply, content, reply.length, *how)
        body = ReplyBody(reply, self.call, head=head or b"")
        return relayed(reply, body, reply.length, *how)

    async def beginning(self, reply: Reply, most: int) -> tuple[bytes, bool]:
        """The first bytes of a body, ``most`` and one at most, and whether they are the whole.

        A body that dawdles is left after ten seconds. Raises ``UpstreamError``.
        """
        content, until = b"", self.clock() + _DAWDLING_SECONDS
        while len(content) <= most and self.clock() < until:
            part = await self.call(partial(reply.read, most + 1 - len(content)))
            content += part
            if not part or len(content) == reply.length:
                reply.close()
                return content, True
        return content, False

    def let_go(self, reply: Reply) -> None:
        """Read what little is left, so that the connection serves again; nobody waits for it."""
        threading.Thread(target=reply.drain, daemon=True).start()

    async def together(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """Do for all who ask the same at once what one asks first; whether that was the caller.

        An exception reaches all of them.
        """
        running = self._flights.get(key)
        if running is not None:
            return await asyncio.shield(running), False
        flight: asyncio.Future[T] = asyncio.ensure_future(_awaited(make))
        self._flights[key] = flight
        flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(flight), True

    def close(self) -> None:
        """End the idle connections and the store's thread."""
        self._store_pool.submit(self.store.disconnect)
        self._store_pool.shutdown(wait=True)
        self.upstream.close()


def forwarded(request: Request) -> Fields:
    """What of a client's header fields goes upstream: who asks, and what it accepts.

    Never ``Range`` or a condition, since the whole object is wanted, nor ``Accept-Encoding``:
    the bytes must be those that the digest names.
    """
    kept = (
        (name, value)
        for name, value in end_to_end(request.headers)
        if name.lower() in _FORWARDED_NEUTRAL or name.lower() not in NEUTRAL
    )
    return (*kept, ("Accept-Encoding", "identity"))


def relayed(reply: Reply, content: bytes | Body, size: int | None, *how: str) -> Answer:
    """An answer of upstream's fields, and of this content and size."""
    headers = (
        *(pair for pair in end_to_end(reply.headers) if pair[0].lower() != "content-length"),
        cache_status(*how),
    )
    if size is not None:
        headers = (*headers, ("Content-Length", str(size)))
    return Answer(reply.status, headers, content)


async def _still_awaited(request: Request, seconds: float) -> bool:
    """Whether the client is still there after a pause."""
    await asyncio.sleep(seconds)
    return request.is_awaited()


async def _awaited(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


def _run(
    function: Callable[[], T], future: "asyncio.Future[T]", loop: asyncio.AbstractEventLoop
) -> None:
    def settle(result: T | None, error: BaseException | None) -> None:
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)
            future.exception()  # it was seen, even where nobody waits any more

    result, problem = None, None
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 it is raised where the function was asked for
        problem = error
    try:
        loop.call_soon_threadsafe(settle, result, problem)
    except RuntimeError:  # the loop has ended meanwhile
        if isinstance(result, Reply):
            result.close()

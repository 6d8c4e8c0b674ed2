"""The one driver of all I/O that the cache engine asks for: upstream, the store, the clock.

Decisions live in ``access`` and ``freshness``; content lives in ``store``; this connects them to
the event loop. Upstream is asked on daemon threads, so that one that stalls never delays the
exit; the store is used from one thread only, since each has a database connection of its own.
Where the store fails, its answer is «nothing known» and the pull goes on (promise 7).

Who can answer without upstream says so (``spare``, ``brief``) and is not made to wait: ``breaker``
knows which hosts do not answer, and they are tried again behind such answers.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from typing import Any, TypeVar

from entrepot.access import NEUTRAL, Access
from entrepot.body import ReplyBody
from entrepot.breaker import Ask, Breakers
from entrepot.events import Events
from entrepot.message import Answer, Body, Fields, Request, cache_status, end_to_end
from entrepot.patience import BRIEF, FAILURES, PATIENCE, Patience, parse_retry_after
from entrepot.ratelimits import RateLimits, account_hint
from entrepot.reference import Origin
from entrepot.reply import Reply, Target, UpstreamError
from entrepot.signing import Signer
from entrepot.store import Store, StoreBusyError, StoreError
from entrepot.upstream import Follow, Upstream

ANSWER_SECONDS = 5.0
_CALLS_AT_ONCE = 128
_REST_SECONDS = 10.0
"""How long the store is left alone when another process holds it: each question to it costs
seconds then, and a pull asks many."""

_SMALL = 256 * 1024
_MOST_TRIALS = 1000
_DRIP_SECONDS = 0.5
"""How long after its deadline a head that comes byte by byte is given up."""

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
        *,
        answer_seconds: float = ANSWER_SECONDS,
        offline: bool = False,
    ) -> None:
        """``clock`` never jumps: what is remembered in memory counts by it.

        ``wall`` is the time of day, for what is kept on disk or told to clients; without it
        ``clock`` is. ``answer_seconds`` is how long the head of an answer is waited for where
        something else could be served; ``offline`` asks no upstream at all.
        """
        self.store = store
        self.upstream = upstream
        self.access = access
        self.events = events
        self.clock = clock
        self._patience = patience
        self.wall = wall or clock
        self.offline = offline
        self.breakers = Breakers()
        self.limits = RateLimits()
        self.signer = Signer(upstream, events, clock)
        self._answer_seconds = answer_seconds
        self._calls = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._store_pool = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store_rests_until = 0.0
        self._flights: dict[Hashable, asyncio.Future[Any]] = {}
        self._trials: dict[Origin, Request] = {}
        """What hosts let a deadline pass on; in memory only, with what it said of who asked."""

    async def call(self, function: Callable[[], T], within: float | None = None) -> T:
        """Run a blocking function on a thread of its own.

        Raises TimeoutError where it runs longer than ``within`` seconds; the thread goes on.
        """
        loop = asyncio.get_running_loop()
        await self._calls.acquire()
        future: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(lambda _: self._calls.release())
        threading.Thread(target=_run, args=(function, future, loop), daemon=True).start()
        try:
            async with asyncio.timeout(within):
                return await asyncio.shield(future)  # who gives up does not end the thread
        except (TimeoutError, asyncio.CancelledError):
            future.add_done_callback(_close_unwanted)
            raise

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

    # Asking upstream

    def may_ask(self, origin: Origin, *, spare: bool) -> bool:
        """Whether to ask a host; ``spare`` says that there is an answer without it."""
        if self.offline:
            return False
        ask = self.breakers.ask(origin, self.clock(), spare=spare)
        if ask is Ask.BEHIND:
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._try, args=(origin, loop), daemon=True).start()
        return ask is Ask.NOW

    def may_ask_as(self, request: Request, *, spare: bool) -> bool:
        """Whether to ask a request's registry, and the token server that its account needs."""
        server = self.signer.server_needed(request)
        return (server is None or self.may_ask(server, spare=spare)) and self.may_ask(
            request.origin, spare=spare
        )

    def is_away(self, origin: Origin) -> bool:
        """Whether a host does not answer; it is tried again meanwhile, where that is due."""
        away = self.offline or self.breakers.is_away(origin)
        return away and not self.may_ask(origin, spare=True)

    def _try(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        """Find out, on a thread, whether a host answers again: anything counts.

        It is asked again what it let a deadline pass on: many that hang still answer a ping.
        """
        trial = self._trials.get(origin) or Request("HEAD", origin, "/v2/")
        send = self._sender(trial, seconds=self._answer_seconds)
        try:
            reply = send()
            reply.drain()
            heard = partial(self._answered, origin, reply.target.origin)
        except UpstreamError as error:
            heard = partial(self.failed, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(heard)

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
        self._demand(request)
        send = self._sender(request, method, extra, follow, downgrade=downgrade)
        return await self._heard(replace(request, method=method or request.method), send)

    def _sender(
        self,
        request: Request,
        method: str | None = None,
        extra: Fields = (),
        follow: Follow = Follow.ANY,
        *,
        downgrade: bool = False,
        seconds: float | None = None,
    ) -> Callable[[], Reply]:
        target = Target(request.origin, request.target)

        def send(fields: Fields) -> Reply:
            return self.upstream.send(
                method or request.method,
                target,
                fields,
                follow=follow,
                downgrade=downgrade,
                seconds=seconds,
            )

        fields = (*forwarded(request), *extra)
        return partial(self.signer.send, request, fields, send, seconds=seconds)

    async def pass_on(
        self, request: Request, fields: Fields, content: bytes | None, *, brief: bool = False
    ) -> Reply:
        """Send what a client sent, with these fields; redirects are its own to follow.

        ``brief``: the caller has an answer without upstream, and asked :meth:`may_ask`. Raises
        ``UpstreamError``.
        """
        if not brief:
            self._demand(request)
        seconds = self._answer_seconds if brief else None

        def send(fields: Fields) -> Reply:
            return self.upstream.send(
                request.method,
                Target(request.origin, request.target),
                fields,
                follow=Follow.NO,
                content=content,
                seconds=seconds,
            )

        signed = partial(self.signer.send, request, fields, send, seconds=seconds)
        asked = Request("HEAD", request.origin, request.path)  # of a login nothing is tried again
        return await self._heard(asked, signed, brief=brief)

    def upstreams(self) -> dict[str, dict[str, object]]:
        """What is known of hosts that are not simply there, or that limit pulls; for a monitor."""
        found: dict[str, dict[str, object]] = {}
        for origin, state in self.breakers.states(self.clock()).items():
            found.setdefault(str(origin), {})["state"] = state
        for origin, limit in self.limits.last.items():
            found.setdefault(str(origin), {})["ratelimit"] = asdict(limit)
        return found

    def _demand(self, request: Request) -> None:
        """Raise where a registry, or what its account needs, is not to be asked now."""
        if not self.may_ask_as(request, spare=False):
            why = "the proxy is offline" if self.offline else "it does not answer; asked again soon"
            raise UpstreamError(f"{request.origin}: {why}")

    async def _heard(
        self,
        asked: Request,
        send: Callable[[], Reply],
        *,
        last: bool = True,
        brief: bool = False,
    ) -> Reply:
        """Ask, and remember whether there was an answer; a failure counts that is the ``last``.

        ``brief``: the whole head of the answer must come in time, redirects and all.
        """
        origin = asked.origin
        self.events.count("upstream_requests")
        try:
            reply = await self._in_time(origin, send) if brief else await self.call(send)
        except UpstreamError as error:
            if last:
                self.failed(error, asked)
            raise
        self._answered(origin, reply.target.origin, *self.signer.take_answered())
        self.limits.note(origin, reply.headers, self.wall())
        if reply.status == 429:
            self._limited(origin)
        return reply

    async def _in_time(self, origin: Origin, send: Callable[[], Reply]) -> Reply:
        try:
            # A moment more than the deadlines below, which know who it was that hung.
            return await self.call(send, self._answer_seconds + _DRIP_SECONDS)
        except TimeoutError:
            raise UpstreamError(
                f"{origin}: no answer in time", passing=True, silent=origin, slow=True
            ) from None

    def _limited(self, origin: Origin) -> None:
        """Say that a registry lets nobody pull any more, and what to do about it."""
        self.events.count("rate_limits")
        if not self.limits.is_news(origin, self.clock()):
            return
        last = self.limits.last.get(origin)
        figures = {} if last is None else last.known()
        self.events.warn("rate_limited", host=origin, **figures, do=account_hint(origin))

    def failed(self, error: UpstreamError, asked: Request | None = None) -> None:
        """Take in that upstream did not answer; ``asked`` is what will be tried again.

        A host that redirects a HEAD to one that hangs is no faster than that one.
        """
        if error.silent is None:
            return
        self._silent(error.silent, error, connected=error.connected)
        if asked is None or not error.slow:
            return
        if asked.origin != error.silent:
            if asked.method != "HEAD":
                return
            self._silent(asked.origin, error, connected=True)
        self._trials[asked.origin] = replace(asked, method="HEAD")
        while len(self._trials) > _MOST_TRIALS:
            del self._trials[next(iter(self._trials))]

    def _silent(self, origin: Origin, error: UpstreamError, *, connected: bool) -> None:
        if self.breakers.failed(origin, self.clock(), connected=connected, slow=error.slow):
            state = self.breakers.states(self.clock())[origin]
            self.events.warn("upstream_away", host=origin, state=state, reason=error)

    def _answered(self, *origins: Origin) -> None:
        for origin in dict.fromkeys(origins):
            self._trials.pop(origin, None)
            if self.breakers.answered(origin):
                self.events.info("upstream_back", host=origin)

    async def send_patiently(
        self,
        request: Request,
        *,
        method: str | None = None,
        extra: Fields = (),
        follow: Follow = Follow.ANY,
        downgrade: bool = False,
        brief: bool = False,
    ) -> Reply:
        """As :meth:`send`, but asked again for a few seconds where that may help (``patience``).

        ``brief``: as in :meth:`pass_on`. The last answer counts, whatever it is. Raises
        ``UpstreamError``.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        patience = BRIEF if brief else self._patience
        seconds = self._answer_seconds if brief else None
        send = self._sender(request, method, extra, follow, downgrade=downgrade, seconds=seconds)
        asked = replace(request, method=method or request.method)
        if not brief:
            self._demand(request)
        for attempts in count(1):
            try:
                reply = await self._heard(asked, send, last=False, brief=brief)
            except UpstreamError as error:
                pause = patience.pause(attempts, clock() - began) if error.passing else None
                if pause is None or not await _still_awaited(request, pause):
                    self.failed(error, asked)
                    raise
            else:
                if reply.status not in FAILURES:
                    return reply
                after = reply.value("Retry-After")
                self._rest(request.origin, reply)
                pause = patience.pause(attempts, clock() - began, reply.status, after)
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

    def _rest(self, origin: Origin, reply: Reply) -> None:
        """Believe a host that says how long it wants to be left alone (RFC 6585 section 4)."""
        seconds = parse_retry_after(reply.value("Retry-After"))
        if reply.status == 429 and seconds is not None:
            now = self.clock()
            self.breakers.rest(origin, now + seconds, now)

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
    the bytes must be those that the digest names. With an account it is the account that asks.
    """
    as_client = request.account is None
    kept = (
        (name, value)
        for name, value in end_to_end(request.headers)
        if name.lower() in _FORWARDED_NEUTRAL or (as_client and name.lower() not in NEUTRAL)
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


def _close_unwanted(future: "asyncio.Future[Any]") -> None:
    """Let go of an answer that came when nobody waited any more."""
    if not future.cancelled() and not future.exception() and isinstance(future.result(), Reply):
        future.result().close()


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

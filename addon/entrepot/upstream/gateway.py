"""Asking upstream: within which time, how often, and whether at all.

Who can answer without upstream says so (``spare``, ``brief``) and is not made to wait: ``breaker``
knows which hosts do not answer, and they are tried again behind such answers.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from itertools import count

from entrepot.events import Events
from entrepot.http_client.client import Follow, Upstream
from entrepot.http_client.connect.ssrf_guard import DestinationError
from entrepot.http_client.response import Reply, Target, UpstreamError
from entrepot.http_client.retry_after import parse_retry_after
from entrepot.protocol.forwarded_fields import forwarded, is_plain
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.identity_fields import identity_fields
from entrepot.protocol.messages import Fields, Request
from entrepot.protocol.network_reach import Reach
from entrepot.upstream.account_auth import Signer
from entrepot.upstream.circuit_breaker import TRIAL_SECONDS, Ask, Breakers
from entrepot.upstream.concurrency_limits import Slots
from entrepot.upstream.rate_limits import RateLimits, account_hint
from entrepot.upstream.retry import BRIEF, FAILURES, PATIENCE, Patience
from entrepot.upstream.worker_threads import Threads

ANSWER_SECONDS = 5.0
_MOST_TRIALS = 1000
_TRIALS_AT_ONCE = 64
_DRIP_SECONDS = 0.5
"""How long after its deadline a head that comes byte by byte is given up."""


class Asking(Threads):
    """What asks upstream, and knows which hosts answer. Belongs to one event loop."""

    def __init__(
        self,
        upstream: Upstream,
        events: Events,
        clock: Callable[[], float],
        wall: Callable[[], float] | None = None,
        patience: Patience = PATIENCE,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        offline: bool = False,
        slots: Slots | None = None,
    ) -> None:
        """``clock`` never jumps: what is remembered in memory counts by it.

        ``wall`` is the time of day, for what is kept on disk or told to clients; without it
        ``clock`` is. ``answer_seconds`` is how long the head of an answer is waited for where
        something else could be served; ``offline`` asks no upstream at all.
        """
        super().__init__(slots)
        self.upstream = upstream
        self.events = events
        self.clock = clock
        self._patience = patience
        self.wall = wall or clock
        self.offline = offline
        self.breakers = Breakers()
        self.limits = RateLimits()
        self.signer = Signer(upstream, events, clock)
        self._answer_seconds = answer_seconds
        self._reasons: dict[Origin, str] = {}
        """Why hosts gave no answer when they were last asked."""
        self._trials: dict[Origin, Request] = {}
        """What hosts let a deadline pass on; in memory only, with what it said of who asked."""
        self._trying: set[Origin] = set()

    def may_ask(self, origin: Origin, *, spare: bool) -> bool:
        """Whether to ask a host; ``spare`` says that there is an answer without it."""
        if self.offline:
            return False
        ask = self.breakers.ask(origin, self.clock(), spare=spare)
        if ask is Ask.BEHIND and len(self._trying) < _TRIALS_AT_ONCE:
            self._trying.add(origin)
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

    def reach_of(self, request: Request) -> Reach:
        """How far a request may lead."""
        origin = request.origin
        return request.reach or self.upstream.destinations.named_by_client(
            origin.host, origin.port, request.client
        )

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
        self._demand(request, spare=brief)  # who was waited for may have been found away meanwhile
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
                self._rest(request, reply)
                pause = patience.pause(attempts, clock() - began, reply.status, after)
                if pause is None or not await _still_awaited(request, pause):
                    self.events.warn(
                        "upstream_failed",
                        of=f"{request.origin}{request.path}",
                        reason=f"it answered {reply.status}",
                    )
                    return reply
                await self.call(reply.drain, by=request)
            self.events.count("upstream_retries")
        raise AssertionError  # count() has no end

    async def pass_on(
        self, request: Request, fields: Fields, content: bytes | None, *, brief: bool = False
    ) -> Reply:
        """Send what a client sent, with these fields; redirects are its own to follow.

        An account's answer may teach what then holds for all its clients (a token server), so of a
        client's fields only plain ones go with it. ``brief``: the caller has an answer without
        upstream, and asked :meth:`may_ask`. Raises ``UpstreamError``.
        """
        if request.account is not None:
            fields = tuple(pair for pair in fields if is_plain(pair[0]))
        if not brief:
            self._demand(request)
        seconds = self._answer_seconds if brief else None

        def send(fields: Fields) -> Reply:
            return self.upstream.send(
                request.method,
                Target(request.origin, request.target),
                fields,
                reach=self.reach_of(request),
                follow=Follow.NO,
                content=content,
                seconds=seconds,
            )

        signed = partial(self.signer.send, request, fields, send, seconds=seconds)
        # Of a login nothing is tried again.
        asked = Request("HEAD", request.origin, request.path, reach=self.reach_of(request))
        return await self._heard(asked, signed, by=request, brief=brief)

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
        # Without what belongs to a client's connection, which would be held with it.
        self._trials[asked.origin] = Request(
            "HEAD",
            asked.origin,
            asked.path,
            asked.query,
            asked.headers,
            account=asked.account,
            reach=self.reach_of(asked),
        )
        while len(self._trials) > _MOST_TRIALS:
            del self._trials[next(iter(self._trials))]

    def heard(self, origin: Origin) -> None:
        """Take in that a host answered something that we did not ask."""
        self._answered(origin)

    def left_alone(self, origin: Origin) -> UpstreamError:
        """Why a host is not asked now that is known not to answer."""
        reason = self._reasons.get(origin)
        why = f"{reason}; it does not answer" if reason else "it does not answer"
        return UpstreamError(f"{origin}: {why}; asked again soon", again=TRIAL_SECONDS)

    def upstreams(self) -> dict[str, dict[str, object]]:
        """What is known of hosts that are not simply there, or that limit pulls; for a monitor."""
        found: dict[str, dict[str, object]] = {}
        for origin, state in self.breakers.states(self.clock()).items():
            found.setdefault(str(origin), {})["state"] = state
        for origin, limit in self.limits.last.items():
            found.setdefault(str(origin), {})["ratelimit"] = asdict(limit)
        return found

    def let_go(self, reply: Reply) -> None:
        """Read what little is left, so that the connection serves again; nobody waits for it."""
        by = Request("GET", reply.target.origin, "")
        if not self.call_if_free(reply.drain, "let_go", by):
            reply.close()

    def _demand(self, request: Request, *, spare: bool = False) -> None:
        """Raise where a registry, or what its account needs, is not to be asked now."""
        if not self.may_ask_as(request, spare=spare):
            if self.offline:
                raise UpstreamError(f"{request.origin}: the proxy is offline")
            raise self.left_alone(request.origin)

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
                reach=self.reach_of(request),
                follow=follow,
                downgrade=downgrade,
                seconds=seconds,
            )

        fields = (*forwarded(request), *extra)
        return partial(self.signer.send, request, fields, send, seconds=seconds)

    async def _heard(
        self,
        asked: Request,
        send: Callable[[], Reply],
        *,
        by: Request | None = None,
        last: bool = True,
        brief: bool = False,
    ) -> Reply:
        """Ask, and remember whether there was an answer; a failure counts that is the ``last``.

        ``by`` is the client's request, where it is not ``asked``. ``brief``: the whole head of the
        answer must come in time, redirects and all.
        """
        origin, by = asked.origin, by or asked
        self.events.count("upstream_requests")
        try:
            reply = await (self._in_time(by, send) if brief else self.call(send, by=by))
        except UpstreamError as error:
            if last:
                self.failed(error, asked)
            raise
        self._answered(origin, reply.target.origin, *self.signer.take_answered())
        self.limits.note(origin, reply.headers, self.wall())
        if reply.status == 429:
            self._limited(origin)
        return reply

    async def _in_time(self, by: Request, send: Callable[[], Reply]) -> Reply:
        origin = by.origin
        try:
            # A moment more than the deadlines below, which know who it was that hung.
            return await self.call(send, self._answer_seconds + _DRIP_SECONDS, by=by)
        except TimeoutError:
            raise UpstreamError(
                f"{origin}: no answer in time", passing=True, silent=origin, slow=True
            ) from None

    def _try(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        """Find out, on a thread, whether a host answers again: anything counts.

        It is asked again what it let a deadline pass on: many that hang still answer a ping.
        """
        reach = self.upstream.destinations.named_by_somebody(origin)
        trial = self._trials.get(origin) or Request("HEAD", origin, "/v2/", reach=reach)
        send = self._sender(trial, seconds=self._answer_seconds)
        try:
            reply = send()
            reply.drain()
            heard = partial(self._answered, origin, reply.target.origin)
        except UpstreamError as error:
            heard = partial(self.failed, error)
        except DestinationError:  # only who may go there can try
            heard = partial(self._answered, origin)
        finally:
            self._trying.discard(origin)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(heard)

    def _limited(self, origin: Origin) -> None:
        """Say that a registry lets nobody pull any more, and what to do about it."""
        self.events.count("rate_limits")
        if not self.limits.is_news(origin, self.clock()):
            return
        last = self.limits.last.get(origin)
        figures = {} if last is None else last.known()
        self.events.warn("rate_limited", host=origin, **figures, do=account_hint(origin))

    def _rest(self, request: Request, reply: Reply) -> None:
        """Believe a host that says how long it wants to be left alone (RFC 6585 section 4).

        For everybody, so not where the limit may be that of a client's own login.
        """
        seconds = parse_retry_after(reply.value("Retry-After"))
        if reply.status == 429 and seconds is not None and self._is_as_anybody(request):
            now = self.clock()
            self.breakers.rest(request.origin, now + seconds, now)

    def _is_as_anybody(self, request: Request) -> bool:
        """Whether upstream takes a request for the proxy's own, or for one of nobody in particular.

        With what is known here: ``Driver`` knows which tokens are anybody's, too.
        """
        return request.account is not None or not identity_fields(request)

    def _silent(self, origin: Origin, error: UpstreamError, *, connected: bool) -> None:
        self._reasons[origin] = str(error).removeprefix(f"{origin}: ")
        while len(self._reasons) > _MOST_TRIALS:
            del self._reasons[next(iter(self._reasons))]
        if self.breakers.failed(origin, self.clock(), connected=connected, slow=error.slow):
            state = self.breakers.states(self.clock())[origin]
            self.events.warn("upstream_away", host=origin, state=state, reason=error)

    def _answered(self, *origins: Origin) -> None:
        for origin in dict.fromkeys(origins):
            self._trials.pop(origin, None)
            self._reasons.pop(origin, None)
            if self.breakers.answered(origin):
                self.events.info("upstream_back", host=origin)


async def _still_awaited(request: Request, seconds: float) -> bool:
    """Whether the client is still there after a pause."""
    await asyncio.sleep(seconds)
    return request.is_awaited()

"""Asking upstream: within which time, how often, and whether at all.

Who has an answer without upstream says so (``fallback``) and is not made to wait: ``host_health``
knows which hosts do not answer, and tries them again behind such answers.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from entrepot.auth.grants import Access
from entrepot.events.counters import Counter
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.http_client.client import HttpClient
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.http_client.retry_after import parse_retry_after
from entrepot.protocol.header_filters import NAMES_NO_HOST, content_fields, identity_fields, only
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields, Request
from entrepot.protocol.network_reach import Reach
from entrepot.protocol.statuses import TRANSIENT
from entrepot.upstream.account_auth.challenges import AccountAuth
from entrepot.upstream.host_health import HostHealth
from entrepot.upstream.host_outcomes import HostOutcomes, UpstreamState, upstream_states
from entrepot.upstream.rate_limits import RateLimits, account_hint
from entrepot.upstream.retry_policy import PATIENCE, PATIENCE_WITH_FALLBACK, Patience
from entrepot.upstream.worker_threads import WorkerThreads

ANSWER_SECONDS = 5.0
_DRIP_SECONDS = 0.5
"""How long after its deadline a head that comes byte by byte is given up."""


@dataclass(frozen=True, slots=True)
class AskOptions:
    """How upstream is asked for content, where that is not just what the client asked."""

    method: str | None = None
    """None: the client's."""
    extra: Fields = ()
    """Header fields besides those with which content is asked for (``content_fields``)."""
    downgrade: bool = False
    """Whether a redirect may lead from https to plain http: only for what a digest names."""
    fallback: bool = False
    """Whether something else could be served: then upstream is not waited for long."""
    follow: Follow = Follow.ANY
    """Which redirects are followed here; others are the client's to follow."""


_AS_THE_CLIENT = AskOptions()


class Gateway:
    """The way to upstream: every request that leaves for a registry goes through here."""

    def __init__(
        self,
        upstream: HttpClient,
        access: Access,
        threads: WorkerThreads,
        events: Events,
        clock: Callable[[], float],
        wall: Callable[[], float],
        patience: Patience = PATIENCE,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        offline: bool = False,
    ) -> None:
        """``clock`` never jumps, ``wall`` is the time of day.

        ``answer_seconds`` is how long the head of an answer is waited for where something else
        could be served; ``offline`` asks no upstream at all.
        """
        self.upstream = upstream
        self.outcomes = upstream.observer = HostOutcomes(wall)
        self.account_auth = AccountAuth(upstream, events, clock)
        self.health = HostHealth(events, clock, self.reach_of, self._ask_again, offline=offline)
        self._access = access
        self._threads = threads
        self._events = events
        self._clock = clock
        self._wall = wall
        self._patience = patience
        self.limits = RateLimits()
        self._answer_seconds = answer_seconds

    def may_ask_as(self, request: Request, *, fallback: bool) -> bool:
        """Whether to ask a request's registry, and the token server that its account needs."""
        hosts = filter(None, (self.account_auth.server_needed(request), request.origin))
        return all(self.health.may_ask(host, fallback=fallback) for host in hosts)

    def reach_of(self, request: Request) -> Reach:
        """How far a request may lead."""
        origin = request.origin
        return request.reach or self.upstream.destinations.named_by_client(
            origin.host, origin.port, request.client
        )

    async def send(self, request: Request, options: AskOptions = _AS_THE_CLIENT) -> Reply:
        """Ask upstream once what the client asked, as the client. Raises ``UpstreamError``."""
        self._demand(request)
        send = self._sender(request, options)
        return await self._heard(replace(request, method=options.method or request.method), send)

    async def send_patiently(self, request: Request, options: AskOptions = _AS_THE_CLIENT) -> Reply:
        """As :meth:`send`, but asked again for some seconds where it may help (``retry_policy``).

        The last answer counts, whatever it is. Raises ``UpstreamError``.
        """
        clock = asyncio.get_running_loop().time
        began, fallback = clock(), options.fallback
        patience = PATIENCE_WITH_FALLBACK if fallback else self._patience
        seconds = self._answer_seconds if fallback else None
        send = self._sender(request, options, seconds)
        asked = replace(request, method=options.method or request.method)
        # Who was waited for may have been found away meanwhile.
        self._demand(request, fallback=fallback)
        for attempts in count(1):
            try:
                reply = await self._heard(asked, send, last=False, fallback=fallback)
            except UpstreamError as error:
                pause = patience.pause(attempts, clock() - began) if error.passing else None
                if pause is None or not await _still_awaited(request, pause):
                    self.health.failed(error, asked)
                    raise
            else:
                if reply.status not in TRANSIENT:
                    return reply
                after = reply.value("Retry-After")
                self._rest(request, reply)
                pause = patience.pause(attempts, clock() - began, reply.status, after)
                if pause is None or not await _still_awaited(request, pause):
                    self._events.log(
                        Event.UPSTREAM_FAILED,
                        url=f"{request.origin}{request.path}",
                        reason=f"it answered {reply.status}",
                    )
                    return reply
                await self._threads.call(reply.drain, by=request)
            self._events.count(Counter.UPSTREAM_RETRIES)
        raise AssertionError  # count() has no end

    async def pass_on(
        self, request: Request, fields: Fields, content: bytes | None, *, fallback: bool = False
    ) -> Reply:
        """Send what a client sent, with these fields; redirects are its own to follow.

        An account's answer may teach what then holds for all its clients (a token server), so of a
        client's fields only those go with it that name no host. ``fallback``: the caller has an
        answer without upstream, and asked :meth:`HostHealth.may_ask`. Raises ``UpstreamError``.
        """
        if request.account is not None:
            fields = only(fields, NAMES_NO_HOST)
        if not fallback:
            self._demand(request)
        seconds = self._answer_seconds if fallback else None

        def send(fields: Fields) -> Reply:
            return self.upstream.send(
                request.method,
                Target(request.origin, request.target),
                fields,
                SendOptions(Follow.NO, reach=self.reach_of(request), seconds=seconds),
                content,
            )

        signed = partial(self.account_auth.send, request, fields, send, seconds=seconds)
        # Of a login nothing is tried again.
        asked = Request("HEAD", request.origin, request.path, reach=self.reach_of(request))
        return await self._heard(asked, signed, by=request, fallback=fallback)

    def upstreams(self) -> dict[Origin, UpstreamState]:
        """How every host does that was asked lately; for a monitor."""
        return upstream_states(self.outcomes.known(), self.health.states(), self.limits.last)

    def let_go(self, reply: Reply) -> None:
        """Read what little is left, so that the connection serves again; nobody waits for it."""
        by = Request("GET", reply.target.origin, "")
        if not self._threads.call_if_free(reply.drain, "let_go", by):
            reply.close()

    def _demand(self, request: Request, *, fallback: bool = False) -> None:
        """Raise where a registry, or what its account needs, is not to be asked now."""
        if not self.may_ask_as(request, fallback=fallback):
            if self.health.offline:
                raise UpstreamError(f"{request.origin}: the proxy is offline")
            raise self.health.left_alone(request.origin)

    def _sender(
        self, request: Request, options: AskOptions, seconds: float | None = None
    ) -> Callable[[], Reply]:
        target = Target(request.origin, request.target)

        def send(fields: Fields) -> Reply:
            return self.upstream.send(
                options.method or request.method,
                target,
                fields,
                SendOptions(
                    options.follow,
                    reach=self.reach_of(request),
                    downgrade=options.downgrade,
                    seconds=seconds,
                ),
            )

        fields = (*content_fields(request), *options.extra)
        return partial(self.account_auth.send, request, fields, send, seconds=seconds)

    async def _heard(
        self,
        asked: Request,
        send: Callable[[], Reply],
        *,
        by: Request | None = None,
        last: bool = True,
        fallback: bool = False,
    ) -> Reply:
        """Ask, and remember whether there was an answer; a failure counts that is the ``last``.

        ``by`` is the client's request, where it is not ``asked``. With a ``fallback`` the whole
        head of the answer must come in time, redirects and all.
        """
        origin, by = asked.origin, by or asked
        self._events.count(Counter.UPSTREAM_REQUESTS)
        try:
            reply = await (self._in_time(by, send) if fallback else self._threads.call(send, by=by))
        except UpstreamError as error:
            if last:
                self.health.failed(error, asked)
            raise
        self.health.answered(origin, reply.target.origin, *self.account_auth.tokens.take_answered())
        self.limits.note(origin, reply.headers, self._wall())
        if reply.status == 429:
            self._limited(origin)
        return reply

    async def _in_time(self, by: Request, send: Callable[[], Reply]) -> Reply:
        origin = by.origin
        try:
            # A moment more than the deadlines below, which know who it was that hung.
            return await self._threads.call(send, self._answer_seconds + _DRIP_SECONDS, by=by)
        except TimeoutError:
            raise UpstreamError(
                f"{origin}: no answer in time", passing=True, silent=origin, slow=True
            ) from None

    def _ask_again(self, origin: Origin, asked: Request | None) -> Reply:
        reach = self.upstream.destinations.named_by_somebody(origin)
        trial = asked or Request("HEAD", origin, "/v2/", reach=reach)
        return self._sender(trial, _AS_THE_CLIENT, self._answer_seconds)()

    def _limited(self, origin: Origin) -> None:
        """Say that a registry lets nobody pull any more, and what to do about it."""
        self._events.count(Counter.RATE_LIMITS)
        if not self.limits.is_news(origin, self._clock()):
            return
        last = self.limits.last.get(origin)
        figures = {} if last is None else last.known()
        limit, window, source = (figures.get(name) for name in ("limit", "window", "source"))
        hint = account_hint(origin)
        self._events.log(
            Event.RATE_LIMITED, host=origin, limit=limit, window=window, source=source, hint=hint
        )

    def _rest(self, request: Request, reply: Reply) -> None:
        """Believe a host that says how long it wants to be left alone (RFC 6585 section 4).

        For everybody, so not where the limit may be that of a client's own login.
        """
        seconds = parse_retry_after(reply.value("Retry-After"))
        if reply.status == 429 and seconds is not None and self._is_as_anybody(request):
            self.health.rest(request.origin, seconds)

    def _is_as_anybody(self, request: Request) -> bool:
        """Whether upstream takes a request for the proxy's own, or for one of nobody in particular.

        An anonymous token is nobody's in particular, too.
        """
        plain = request.account is not None or not identity_fields(request)
        return plain or self._access.credentials.of(request).anonymous


async def _still_awaited(request: Request, seconds: float) -> bool:
    """Whether the client is still there after a pause."""
    await asyncio.sleep(seconds)
    return request.is_awaited()

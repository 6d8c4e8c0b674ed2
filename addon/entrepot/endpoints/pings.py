"""Pings, ``GET /v2/``: how clients find out whether a registry is there, and wants a token.

They go upstream as the client sent them, over connections that are kept open: a registry far away
costs round trips, and docker opens a connection for every request. What anybody would be told is
remembered (``ping_memory``) and asked for once. From the answers is learnt which token servers
there are (``auth.token_servers``), and that a registry is there (``upstream.discovery``).

Where a registry or its token server is away, the ping is answered 200: its clients go on without a
token (``pull.without_token``), and what they get then is decided in ``pull.stale``.
"""

import asyncio

from entrepot.auth.token_servers import Realms
from entrepot.endpoints.ping_memory import (
    PingMemory,
    Remembered,
    is_anybodys,
    is_fit_for_all,
)
from entrepot.endpoints.tokens import learn_realm
from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import (
    ANYBODYS_PING,
    identity_fields,
    name_no_host,
    passed_on_fields,
)
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import (
    Answer,
    Fields,
    Request,
    field_values,
    json_answer,
    says_registry,
)
from entrepot.protocol.statuses import TRANSIENT, TRANSIENT_AT_ONCE
from entrepot.pull.without_token import WithoutToken
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from entrepot.upstream.relay import relayed

_SMALL = 16 * 1024
_PAUSE_SECONDS = 0.25
_ASKED = cache_status.bypass("ping")


class Pings:
    """Answers pings."""

    def __init__(
        self, context: Context, realms: Realms, hosts: RegistryHosts, without_token: WithoutToken
    ) -> None:
        self._context = context
        self._realms = realms
        self._hosts = hosts
        self._without_token = without_token
        self._memory = PingMemory()

    async def answer(self, request: Request) -> Answer:
        """Answer a ping. Raises ``UpstreamError``."""
        if identity_fields(request):
            return await self._own(request)  # a login, which only upstream can judge
        origin, known = request.origin, self._known(request.origin)
        servers = (known.server,) if known is not None and known.server is not None else ()
        if any(map(self._context.health.is_away, (origin, *servers))):
            return self._go_on(request, *servers)
        if self._without_token.are_told(origin):
            # Not told anew: that would have no end.
            return json_answer(request.method, {}, cache_status.OFFLINE)
        try:
            answer = await self._anonymous(request, known)
            if answer.status in TRANSIENT_AT_ONCE:
                answer.close()
                await asyncio.sleep(_PAUSE_SECONDS)
                answer = await self._anonymous(request, None)
        except UpstreamError as error:
            self._context.events.log(Event.UPSTREAM_FAILED, host=origin, reason=error)
            return self._go_on(request)
        if answer.status in TRANSIENT:
            answer.close()
            return self._go_on(request)
        return answer

    def challenged(self, origin: Origin, challenges: list[str], asked: Fields) -> None:
        """Learn from the challenge of any 401: its token server, and that not all is open.

        ``asked`` are the header fields to which it was the answer.
        """
        learn_realm(self._realms, origin, challenges, asked)
        self._memory.challenged(origin)

    def _known(self, origin: Origin) -> Remembered | None:
        return self._memory.fresh(origin, self._context.clock())

    def _go_on(self, request: Request, *servers: Origin) -> Answer:
        """Answer that no token is needed; nothing else is to be said where that is always so."""
        last = self._memory.last(request.origin)
        if last is None or last.status == 401:
            self._without_token.told(request.origin, (request.origin, *servers))
        return json_answer(request.method, {}, cache_status.OFFLINE)

    async def _anonymous(self, request: Request, known: Remembered | None) -> Answer:
        if not is_anybodys(request):
            return await self._own(request, fallback=True)
        if known is None:
            answer, mine = await self._context.ask_once(
                ("ping", request.origin), request, self._for_all
            )
            if mine:
                return answer
            known = self._known(request.origin)
        if known is None:  # it was not fit for all
            return await self._own(request, fallback=True)
        self._context.events.count(Counter.PING_HITS)
        return known.answer(self._context.clock())

    async def _own(self, request: Request, *, fallback: bool = False) -> Answer:
        """Upstream's answer to this client alone."""
        reply = await self._context.gateway.pass_on(
            request, passed_on_fields(request), None, fallback=fallback
        )
        await self._heard(request, reply)
        return await self._context.relay.answer(request, reply, how=_ASKED)

    async def _for_all(self, request: Request) -> Answer:
        """Upstream's answer to anybody, remembered where it is fit for all."""
        reply = await self._context.gateway.pass_on(request, ANYBODYS_PING, None, fallback=True)
        await self._heard(request, reply)
        if not is_fit_for_all(reply):
            return await self._context.relay.answer(request, reply, how=_ASKED)
        head, whole = await self._context.relay.beginning(request, reply, _SMALL)
        if not whole:
            return await self._context.relay.answer(request, reply, head=head, how=_ASKED)
        challenges = field_values(reply.headers, "WWW-Authenticate")
        server = self._realms.challenged(request.origin, challenges)
        self._memory.remember(request.origin, reply, head, server, self._context.clock())
        return relayed(reply, head, len(head), _ASKED)

    async def _heard(self, request: Request, reply: Reply) -> None:
        """Learn from a ping's answer, and forget what it shows to be so no more."""
        origin, challenges = request.origin, field_values(reply.headers, "WWW-Authenticate")
        # To somebody, only a challenge says what anybody would hear; a failure says nothing.
        telling = reply.status == 401 or not identity_fields(request)
        if telling and reply.status not in TRANSIENT:
            self._memory.answered(origin, reply.status, challenges)
        if reply.status == 401:
            learn_realm(self._realms, origin, challenges, reply.asked)
        if (
            reply.status in (200, 401)
            and says_registry(reply.headers)
            and name_no_host(reply.asked)
        ):
            await self._hosts.learn(origin, self._context.gateway.reach_of(request))

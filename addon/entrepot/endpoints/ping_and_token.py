"""Pings and token requests: what clients ask before they ask for content.

Both go upstream as the client sent them, over connections that are kept open: a registry far
away costs round trips, and docker opens a connection for every request. What passes here is
what ``access`` and ``hosts`` live on: a challenge names a token server, a token server's answer
says who was anonymous and until when, an answered ping says that a registry is there.

What a registry says to a ping that does not say who asks, it says to everybody, so it is
remembered for five minutes: a challenge, or that it is open. That gives no right to anything,
since content is decided on by itself. Whoever shows anything of itself gets an answer of its own,
and one that says something else ends the memory. Tokens are never kept, nor shared.

Where a registry or its token server is away, clients go on without a token: the ping is answered
200, and who asks for a token gets one of ours, which is worth nothing: a request that shows it
counts as one that shows nothing. What they get then is decided in ``outage``. Where the proxy has
an account of its own, ``behalf`` decides what its clients are told.
"""

import asyncio
import secrets
from dataclasses import dataclass, replace

from entrepot.auth import token_requests
from entrepot.auth.token_servers import Realms
from entrepot.bounded_map import BoundedMap
from entrepot.endpoints.account_requests import Behalf
from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.http_client.errors import UpstreamError, unavailable
from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import (
    ANYBODYS_PING,
    ASKS_FOR_MORE,
    OF_A_PING,
    end_to_end,
    identity_fields,
    name_no_host,
    only,
    passed_on_fields,
    without,
)
from entrepot.protocol.headers import parse_challenges
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import (
    Answer,
    Fields,
    Request,
    field_values,
    json_answer,
    token_answer,
)
from entrepot.protocol.routes import Endpoint, Other, Ping
from entrepot.protocol.statuses import TRANSIENT, TRANSIENT_AT_ONCE, UNFIT
from entrepot.pull.stale import Outage
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from entrepot.upstream.relay import relayed

REMEMBERED_SECONDS = 300.0
LARGEST_FORM = 64 * 1024
_SMALL = 16 * 1024
_MOST_REMEMBERED = 1000
_PAUSE_SECONDS = 0.25

_ASKED = frozenset({"GET", "HEAD"})
_STATELESS = frozenset({"basic", "bearer"})
"""Schemes whose challenge is the same for all; others carry a nonce, or belong to a connection."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a registry says to anybody's ping."""

    status: int
    challenges: list[str]
    headers: Fields
    content: bytes
    servers: frozenset[Origin]
    """Where it sends for a token."""
    at: float

    def answer(self, now: float) -> Answer:
        return Answer(
            self.status,
            (
                *self.headers,
                ("Content-Length", str(len(self.content))),
                ("Age", str(max(0, int(now - self.at)))),
                cache_status.PING,
            ),
            self.content,
        )


class Logins:
    """Answers pings and token requests; belongs to one event loop."""

    def __init__(
        self,
        context: Context,
        realms: Realms,
        hosts: RegistryHosts,
        outage: Outage,
        behalf: Behalf,
    ) -> None:
        self._context = context
        self._behalf = behalf
        self._outage = outage
        self._our_token = f"entrepot-{secrets.token_urlsafe(24)}"
        self._realms = realms
        self._hosts = hosts
        self._remembered: BoundedMap[Origin, _Said] = BoundedMap(_MOST_REMEMBERED)

    def takes(self, request: Request, endpoint: Endpoint, size: int | None) -> bool:
        """Whether a request is one for :meth:`handle`; ``size`` is its body's, None if unknown."""
        if size is None or request.values("Expect"):
            return False
        if self._is_for_a_token(request) and request.method == "POST":
            return size <= LARGEST_FORM
        ours = isinstance(endpoint, Ping) or self._is_for_a_token(request)
        return ours and request.method in _ASKED and size == 0

    def takes_for_token(self, request: Request, size: int | None) -> bool:
        """The same at a host that is no registry: what looks like a request for a token, alone."""
        if not self._is_for_a_token(request) or not token_requests.asks_for_token(request):
            return False
        return self.takes(request, Other(), size)

    async def handle(self, request: Request, content: bytes) -> Answer:
        """Answer a ping or a token request; never raises for what upstream does."""
        try:
            if self._is_for_a_token(request):
                return await self._token(request, content)
            return await self._behalf.pinged(request, await self._ping(request))
        except UpstreamError as error:
            self._context.events.log(Event.UPSTREAM_FAILED, host=request.origin, reason=error)
            detail = "token" if self._is_for_a_token(request) else "ping"
            return unavailable(error, cache_status.bypass(detail))

    def settle(self, request: Request) -> Request:
        """Take a token of our own off a request: it counts as one that shows nothing."""
        shown = request.value("Authorization")
        without_token = shown == f"Bearer {self._our_token}"
        if not without_token and not self._behalf.is_ours(shown):
            return request
        kept = without(request.headers, ("authorization",))
        return replace(request, headers=kept, without_token=without_token)

    def challenged(self, origin: Origin, values: list[str], asked: Fields) -> None:
        """Take in the ``WWW-Authenticate`` of any 401: its realm, and that not all is open.

        ``asked`` are the header fields to which it was the answer.
        """
        self._learn_realm(origin, values, asked)
        known = self._remembered.get(origin)
        if known is not None and known.status != 401:
            self._remembered.pop(origin)

    def _learn_realm(self, origin: Origin, values: list[str], asked: Fields) -> None:
        """Everybody is told of a realm, so no client may have had a word in it."""
        if name_no_host(asked):
            self._realms.challenged(origin, values)

    def _is_for_a_token(self, request: Request) -> bool:
        return self._realms.has(request.origin, request.path)

    async def _send(
        self, request: Request, content: bytes | None = None, *, brief: bool = False
    ) -> Reply:
        fields = passed_on_fields(request)
        return await self._context.gateway.pass_on(request, fields, content, brief=brief)

    # Tokens

    async def _token(self, request: Request, content: bytes) -> Answer:
        ours = self._behalf.token(request)
        if ours is not None:
            return ours
        how, began = cache_status.bypass("token"), self._context.clock()
        if self._context.health.is_away(request.origin):
            return self._token_of_ours(request)
        # Ours is of no use for a push, which had better wait.
        brief = not token_requests.asks_to_write(request, content)
        try:
            form = content if request.method == "POST" else None
            reply = await self._send(request, form, brief=brief)
        except UpstreamError as error:
            self._context.events.log(Event.UPSTREAM_FAILED, host=request.origin, reason=error)
            self._hosts.doubt(request.origin, request.client)
            return self._token_of_ours(request)
        if reply.status in UNFIT:
            self._hosts.doubt(request.origin, request.client)
        if reply.status in TRANSIENT:
            reply.close()
            return self._token_of_ours(request)
        if reply.status == 401:
            challenges = field_values(reply.headers, "WWW-Authenticate")
            self._learn_realm(request.origin, challenges, reply.asked)
        if reply.status != 200 or request.method == "HEAD":
            return await self._context.relay.answer(request, reply, how=how)
        head, whole = await self._context.relay.beginning(request, reply, token_requests.MAX_SIZE)
        if not whole:
            return await self._context.relay.answer(request, reply, head=head, how=how)
        # Whom a token server gave a token for what a client said of where it comes from is not
        # anybody.
        anybody = token_requests.is_anonymous(request) and name_no_host(reply.asked)
        self._issued(head, began, anonymous=anybody)
        return relayed(reply, head, len(head), how)

    def _token_of_ours(self, request: Request) -> Answer:
        """What lets a client go on without a token, in the form of one."""
        return token_answer(request.method, self._our_token, cache_status.OFFLINE)

    def _issued(self, content: bytes, began: float, *, anonymous: bool) -> None:
        issued = token_requests.parse_issued(content)
        if issued is None:
            return
        for token in issued.tokens:
            self._context.access.credentials.token_issued(
                token,
                anonymous=anonymous,
                expires=began + issued.seconds,
                now=self._context.clock(),
            )

    # Pings

    async def _ping(self, request: Request) -> Answer:
        if identity_fields(request):
            return await self._own_ping(request)  # a login, which only upstream can judge
        origin, known = request.origin, self._known(request.origin)
        servers = known.servers if known is not None else ()
        if any(map(self._context.health.is_away, (origin, *servers))):
            return self._go_on(request, *servers)
        if self._outage.goes_without_token(origin):
            # Not told anew: that would have no end.
            return json_answer(request.method, {}, cache_status.OFFLINE)
        try:
            answer = await self._anonymous_ping(request, known)
            if answer.status in TRANSIENT_AT_ONCE:
                answer.close()
                await asyncio.sleep(_PAUSE_SECONDS)
                answer = await self._anonymous_ping(request, None)
        except UpstreamError as error:
            self._context.events.log(Event.UPSTREAM_FAILED, host=origin, reason=error)
            return self._go_on(request)
        if answer.status in TRANSIENT:
            answer.close()
            return self._go_on(request)
        return answer

    def _go_on(self, request: Request, *servers: Origin) -> Answer:
        """Answer that no token is needed; nothing else is to be said where that is always so."""
        known = self._remembered.get(request.origin)
        if known is None or known.status == 401:
            self._outage.told_to_go_without_token(request.origin, (request.origin, *servers))
        return json_answer(request.method, {}, cache_status.OFFLINE)

    async def _anonymous_ping(self, request: Request, known: _Said | None) -> Answer:
        if not _is_anybodys(request):
            return await self._own_ping(request, brief=True)
        if known is None:
            answer, mine = await self._context.ask_once(
                ("ping", request.origin), request, self._ping_for_all
            )
            if mine:
                return answer
            known = self._known(request.origin)
        if known is None:  # it was not fit for all
            return await self._own_ping(request, brief=True)
        self._context.events.count(Counter.PING_HITS)
        return known.answer(self._context.clock())

    async def _own_ping(self, request: Request, *, brief: bool = False) -> Answer:
        reply = await self._send(request, brief=brief)
        await self._heard(request, reply)
        return await self._context.relay.answer(request, reply, how=cache_status.bypass("ping"))

    async def _ping_for_all(self, request: Request) -> Answer:
        how = cache_status.bypass("ping")
        reply = await self._context.gateway.pass_on(request, ANYBODYS_PING, None, brief=True)
        await self._heard(request, reply)
        if not _is_fit_for_all(reply):
            return await self._context.relay.answer(request, reply, how=how)
        head, whole = await self._context.relay.beginning(request, reply, _SMALL)
        if not whole:
            return await self._context.relay.answer(request, reply, head=head, how=how)
        self._remember(request.origin, reply, head)
        return relayed(reply, head, len(head), how)

    def _known(self, origin: Origin) -> _Said | None:
        known = self._remembered.get(origin)
        fresh = known is not None and self._context.clock() < known.at + REMEMBERED_SECONDS
        return known if fresh else None

    def _remember(self, origin: Origin, reply: Reply, content: bytes) -> None:
        kept = only(end_to_end(reply.headers), OF_A_PING)
        challenges = field_values(reply.headers, "WWW-Authenticate")
        now, server = self._context.clock(), self._realms.challenged(origin, challenges)
        servers = frozenset({server} if server else ())
        said = _Said(reply.status, challenges, kept, content, servers, now)
        self._remembered.put(origin, said)

    async def _heard(self, request: Request, reply: Reply) -> None:
        """Learn from a ping's answer, and forget what it shows to be so no more."""
        origin, challenges = request.origin, field_values(reply.headers, "WWW-Authenticate")
        known = self._remembered.get(origin)
        # To somebody, only a challenge says what anybody would hear; a failure says nothing.
        telling = reply.status == 401 or not identity_fields(request)
        telling = telling and reply.status not in TRANSIENT
        if known is not None and telling:
            same = (known.status, known.challenges) == (reply.status, challenges)
            if not same:
                self._remembered.pop(origin)
        if reply.status == 401:
            self._learn_realm(origin, challenges, reply.asked)
        if reply.status in (200, 401) and _says_registry(reply) and name_no_host(reply.asked):
            await self._hosts.learn(origin, self._context.gateway.reach_of(request))


def _is_anybodys(request: Request) -> bool:
    """Whether a ping that shows nobody is answered the same whoever sends it."""
    plain = request.method == "GET" and request.path == "/v2/" and not request.query
    return plain and not any(name.lower() in ASKS_FOR_MORE for name, _ in request.headers)


def _is_fit_for_all(reply: Reply) -> bool:
    """Whether an answer to anybody's ping may be given to others: a challenge, or an open door."""
    if "no-store" in (reply.value("Cache-Control") or "").lower():
        return False
    if (reply.value("Content-Encoding") or "identity").lower() != "identity":
        return False
    schemes = {
        challenge.scheme
        for challenge in parse_challenges(field_values(reply.headers, "WWW-Authenticate"))
    }
    if reply.status == 401:
        return bool(schemes) and schemes <= _STATELESS
    return reply.status == 200 and _says_registry(reply)


def _says_registry(reply: Reply) -> bool:
    return (reply.value("Docker-Distribution-Api-Version") or "").startswith("registry/2.")

"""Token requests: upstream's to answer, each for its client, never kept and never shared.

They go to the token server as the client sent them. Its answer says who was anonymous and until
when, which ``auth.credentials`` remembers. Where the token server is away, the client gets a token
of ours, which is worth nothing: a request that shows it counts as one that shows nothing
(``pull.without_token``).
"""

import secrets

from entrepot.auth import anonymous_tokens, token_requests
from entrepot.auth.token_servers import Realms
from entrepot.events.table import Event
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import name_no_host, passed_on_fields
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import (
    Answer,
    Fields,
    Request,
    field_values,
    token_answer,
)
from entrepot.protocol.statuses import TRANSIENT, UNFIT
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from entrepot.upstream.relay import relayed

_ASKED = cache_status.bypass("token")


class Tokens:
    """Answers requests for tokens."""

    def __init__(self, context: Context, realms: Realms, hosts: RegistryHosts) -> None:
        self._context = context
        self._realms = realms
        self._hosts = hosts
        self._ours = f"entrepot-{secrets.token_urlsafe(24)}"

    def is_asked_for(self, request: Request) -> bool:
        """Whether a request goes to where a registry sends its clients for a token."""
        return self._realms.has(request.origin, request.path)

    def is_ours(self, authorization: str | None) -> bool:
        """Whether a client shows the token that was made up here."""
        return authorization == f"Bearer {self._ours}"

    async def answer(self, request: Request, content: bytes) -> Answer:
        """Answer a request for a token; ``content`` is its form. Raises ``UpstreamError``."""
        began = self._context.clock()
        if self._context.health.is_away(request.origin):
            return self._stand_in(request)
        # Ours is of no use for a push, which had better wait.
        fallback = not token_requests.asks_to_write(request, content)
        form = content if request.method == "POST" else None
        try:
            reply = await self._context.gateway.pass_on(
                request, passed_on_fields(request), form, fallback=fallback
            )
        except UpstreamError as error:
            self._context.events.log(Event.UPSTREAM_FAILED, host=request.origin, reason=error)
            self._hosts.doubt(request.origin, request.client)
            return self._stand_in(request)
        if reply.status in UNFIT:
            self._hosts.doubt(request.origin, request.client)
        if reply.status in TRANSIENT:
            reply.close()
            return self._stand_in(request)
        return await self._pass_on(request, reply, began)

    async def _pass_on(self, request: Request, reply: Reply, began: float) -> Answer:
        """The token server's answer, and what is to be learnt of it; it was asked at ``began``."""
        relay = self._context.relay
        if reply.status == 401:
            challenges = field_values(reply.headers, "WWW-Authenticate")
            learn_realm(self._realms, request.origin, challenges, reply.asked)
        if reply.status != 200 or request.method == "HEAD":
            return await relay.answer(request, reply, how=_ASKED)
        head, whole = await relay.beginning(request, reply, token_requests.MAX_SIZE)
        if not whole:
            return await relay.answer(request, reply, head=head, how=_ASKED)
        # Whom a token server gave a token for what a client said of where it comes from is not
        # anybody.
        anybody = anonymous_tokens.is_anonymous(request) and name_no_host(reply.asked)
        self._issued(head, began, anonymous=anybody)
        return relayed(reply, head, len(head), _ASKED)

    def _stand_in(self, request: Request) -> Answer:
        """What lets a client go on without a token, in the form of one."""
        return token_answer(request.method, self._ours, cache_status.OFFLINE)

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


def learn_realm(realms: Realms, registry: Origin, challenges: list[str], asked: Fields) -> None:
    """Learn where a registry has its tokens, from a challenge to a request of these fields.

    Everybody is told of a realm, so no client may have had a word in it.
    """
    if name_no_host(asked):
        realms.challenged(registry, challenges)

"""What clients ask before they ask for content: pings, and requests for tokens.

This tells which requests are such, and who answers them: ``account_requests``, where the proxy has
an account of its own, ``pings`` or ``tokens``. And it takes the tokens off requests that were made
up here, since no token was to be had or none is needed.
"""

from dataclasses import replace

from entrepot.auth import token_requests
from entrepot.auth.token_servers import Realms
from entrepot.endpoints.account_requests import AccountRequests
from entrepot.endpoints.pings import Pings
from entrepot.endpoints.tokens import Tokens
from entrepot.events.table import Event
from entrepot.http_client.errors import UpstreamError, unavailable
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import without
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Answer, Fields, Request
from entrepot.protocol.routes import READS, Endpoint, Other, Ping
from entrepot.pull.without_token import WithoutToken
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.registry_hosts import RegistryHosts

LARGEST_FORM = 64 * 1024
"""Bytes of a form by which a token is asked for."""


class LoginRequests:
    """Answers pings and token requests."""

    def __init__(
        self,
        context: Context,
        realms: Realms,
        hosts: RegistryHosts,
        without_token: WithoutToken,
        account_requests: AccountRequests,
    ) -> None:
        self._context = context
        self._account_requests = account_requests
        self._pings = Pings(context, realms, hosts, without_token)
        self._tokens = Tokens(context, realms, hosts)

    def takes(self, request: Request, endpoint: Endpoint, size: int | None) -> bool:
        """Whether a request is one for :meth:`handle`; ``size`` is its body's, None if unknown."""
        if size is None or request.values("Expect"):
            return False
        for_token = self._tokens.is_asked_for(request)
        if for_token and request.method == "POST":
            return size <= LARGEST_FORM
        return (isinstance(endpoint, Ping) or for_token) and request.method in READS and size == 0

    def takes_for_token(self, request: Request, size: int | None) -> bool:
        """The same at a host that is no registry: what looks like a request for a token, alone."""
        if not self._tokens.is_asked_for(request) or not token_requests.asks_for_token(request):
            return False
        return self.takes(request, Other(), size)

    async def handle(self, request: Request, content: bytes) -> Answer:
        """Answer a ping or a token request; never raises for what upstream does."""
        for_token = self._tokens.is_asked_for(request)
        try:
            if for_token:
                ours = self._account_requests.token(request)
                return ours or await self._tokens.answer(request, content)
            answer = await self._pings.answer(request)
            return await self._account_requests.pinged(request, answer)
        except UpstreamError as error:
            self._context.events.log(Event.UPSTREAM_FAILED, host=request.origin, reason=error)
            detail = "token" if for_token else "ping"
            return unavailable(error, cache_status.bypass(detail))

    def settle(self, request: Request) -> Request:
        """Take a token of our own off a request: it counts as one that shows nothing."""
        shown = request.value("Authorization")
        without_token = self._tokens.is_ours(shown)
        if not without_token and not self._account_requests.is_ours(shown):
            return request
        kept = without(request.headers, ("authorization",))
        return replace(request, headers=kept, without_token=without_token)

    def challenged(self, origin: Origin, values: list[str], asked: Fields) -> None:
        """Learn from the ``WWW-Authenticate`` of any 401; ``asked`` are the request's fields."""
        self._pings.challenged(origin, values, asked)

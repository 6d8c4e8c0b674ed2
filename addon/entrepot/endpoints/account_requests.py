"""What the proxy asks as an account of its own, on behalf of clients that show no login.

Only what reads is asked so: blobs, manifests, lists of tags and of referrers. A client that shows
anything of itself asks as itself, whatever is configured; writing, listing a registry and all that
is not understood is never done as an account.

Such a client must not be told to log in, and one that has a login must be able to use it; docker,
podman and skopeo show it only to a challenge. So:

- Where the challenge names a token server that is watched, the client gets that challenge. Who asks
  the token server without a login, to pull from repositories with an account, gets a token of ours:
  a request that shows it counts as one that shows nothing. Everybody else gets upstream's answer.
- Any other challenge that the account can answer is kept from clients that get one for the whole
  registry.
"""

import secrets
from dataclasses import replace
from urllib.parse import parse_qs

from entrepot.auth.accounts import Accounts
from entrepot.auth.anonymous_tokens import is_anonymous
from entrepot.auth.token_servers import Realms, are_related, named_server
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import identity_fields, name_no_host
from entrepot.protocol.identifiers import is_repository_name
from entrepot.protocol.messages import (
    Answer,
    Request,
    field_values,
    json_answer,
    token_answer,
)
from entrepot.protocol.routes import READS, Blob, Endpoint, Manifest, Referrers, TagList
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.interception import Interception


class AccountRequests:
    """Decides what is asked as an account, and what clients are told for it."""

    def __init__(
        self, context: Context, accounts: Accounts, realms: Realms, interception: Interception
    ) -> None:
        self._context = context
        self._accounts = accounts
        self._realms = realms
        self._interception = interception
        self._token = f"entrepot-account-{secrets.token_urlsafe(24)}"

    def is_ours(self, authorization: str | None) -> bool:
        """Whether a client shows the token that was made up here."""
        return authorization == f"Bearer {self._token}"

    def as_account(self, request: Request, endpoint: Endpoint) -> Request:
        """The request as it is to be asked: as an account, or as the client."""
        if request.method not in READS or identity_fields(request):
            return request
        if not isinstance(endpoint, Blob | Manifest | TagList | Referrers):
            return request
        account = self._accounts.of(request.origin, endpoint.name, request.client)
        if account is None:
            return request
        return replace(request, account=account, without_token=False)

    async def pinged(self, request: Request, answer: Answer) -> Answer:
        """What a client that shows nothing gets for its ping, where ``answer`` is upstream's."""
        if answer.status != 401 or identity_fields(request):
            return answer
        account = self._accounts.of(request.origin, "", request.client)
        challenges = field_values(answer.headers, "WWW-Authenticate")
        named = named_server(challenges)
        related = named is None or are_related(request.origin, named)
        if account is None or not (related or named in account.realms):
            return answer  # nor is the login shown to a token server elsewhere
        plain = name_no_host(request.headers)  # else no realm is learnt of it
        server = self._realms.challenged(request.origin, challenges) if plain else None
        self._interception.sent(request.client, request.origin, challenges)
        if server is not None and await self._interception.intercepts(server, request.client):
            return answer
        answer.close()
        return json_answer(request.method, {}, cache_status.ACCOUNT)

    def token(self, request: Request) -> Answer | None:
        """A token of ours, where all that it is wanted for is asked as an account."""
        if not is_anonymous(request):
            return None
        query = parse_qs(request.query, keep_blank_values=True)
        service = query["service"][0] if "service" in query else None
        registries = self._realms.registries(request.origin, request.path, service)
        names = [_pulled(scope) for line in query.get("scope", ()) for scope in line.split()]
        known = bool(registries) and all(
            name is not None and self._accounts.of(registry, name, request.client) is not None
            for name in names or [""]
            for registry in registries
        )
        return token_answer(request.method, self._token, cache_status.ACCOUNT) if known else None


def _pulled(scope: str) -> str | None:
    """The repository that a scope is to pull from; None where it is for anything else."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return name if (kind, actions) == ("repository", "pull") and is_repository_name(name) else None

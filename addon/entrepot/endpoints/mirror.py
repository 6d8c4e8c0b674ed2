"""Mirrors (``--mirror``): a request to one in, an answer out.

A mirror is for pulling, and for what anybody may have or the account that is configured for a
registry. What a client shows of itself is never passed on: a mirror is plain http, and a challenge
would have clients show their logins on it. So a registry's 401 or 403 becomes a 404: docker and
containerd then ask the registry itself, with their own login.

Whoever names a registry (``ns_parameter``) makes the proxy ask there. As by CONNECT, only a host
that is a registry is asked for content (``upstream.discovery.registry_hosts``); whatever else is
there, or is not, has the same answer. The proxy asks in its own name: so nothing of its own machine
is asked, nor a link-local address, but where the administrator listed it
(``http_client.connect.ssrf_guard``).
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from entrepot.auth.accounts import Accounts
from entrepot.config.mirror_spec import Mirror, name_of
from entrepot.endpoints.catalog import CachedLists
from entrepot.endpoints.ns_parameter import namespaces, registry_named, relinked, split_path
from entrepot.events.table import Event
from entrepot.http_client.connect.ssrf_guard import DestinationError
from entrepot.http_client.errors import UpstreamError, unavailable
from entrepot.protocol import cache_status
from entrepot.protocol.account import NOBODY
from entrepot.protocol.header_filters import FOR_ONE_CLIENT, SAYS_NOT_WHO, only, without
from entrepot.protocol.identifiers import Origin, Repository
from entrepot.protocol.messages import (
    API_VERSION,
    Answer,
    Fields,
    Request,
    error_answer,
)
from entrepot.protocol.network_reach import Reach
from entrepot.protocol.quirks import HUB_LIBRARY, HUB_NAME
from entrepot.protocol.routes import (
    READS,
    Blob,
    Catalog,
    Endpoint,
    Manifest,
    Other,
    Ping,
    Referrers,
    TagList,
    parse_endpoint,
)
from entrepot.pull.cache import Cache
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.registry_hosts import RegistryHosts

_UNKNOWN = {Blob: "BLOB_UNKNOWN", Manifest: "MANIFEST_UNKNOWN", Referrers: "NAME_UNKNOWN"}
"""What is said of what the registry refuses."""


class _RefusedError(Exception):
    """A request that names no registry to ask; the answer says why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = error_answer(status, code, message)


@dataclass(frozen=True, slots=True)
class _Addressed:
    """A request, and the registry that it names; None where it names none."""

    registry: Origin | None
    request: Request
    """As the registry would be asked."""
    endpoint: Endpoint
    namespace: str | None
    """How the query named the registry."""


class Mirrors:
    """Answers what comes to the mirrors."""

    def __init__(
        self,
        context: Context,
        cache: Cache,
        hosts: RegistryHosts,
        mirrors: Collection[Mirror],
        accounts: Accounts,
    ) -> None:
        self._context = context
        self._cache = cache
        self._hosts = hosts
        self._lists = CachedLists(context.store_thread, accounts)
        self._given = {m.registry for m in mirrors if m.registry is not None}
        self._accounts = accounts
        self._destinations = context.gateway.upstream.destinations

    async def answer(self, request: Request, mirror: Mirror) -> Answer:
        """Answer a request below `/v2`, whose origin means nothing; never raises for upstream."""
        if request.method not in READS:
            refusal = error_answer(405, "UNSUPPORTED", "a mirror is for pulling")
            return refusal.adding(("Allow", "GET, HEAD"))
        if isinstance(parse_endpoint(request.method, request.path, ""), Ping):
            return _ping(request)
        try:
            return await self._answer(request, mirror)
        except _RefusedError as refused:
            return refused.answer
        except DestinationError as error:
            events, client = self._context.events, request.client
            events.log(Event.DESTINATION_REFUSED, client=client, path=request.path, reason=error)
            return _unreachable().answer
        except UpstreamError as error:
            self._context.events.log(Event.UPSTREAM_FAILED, path=request.path, reason=error)
            return unavailable(error, cache_status.MISS)

    async def _answer(self, arrived: Request, mirror: Mirror) -> Answer:
        received = self._cache.settle(arrived)
        asked = self._addressed(received, mirror)
        registry, request, endpoint = asked.registry, asked.request, asked.endpoint
        if registry is None:
            if isinstance(endpoint, Catalog):
                return await self._lists.catalog(request, await self._all(), {})
            example = f"/v2/{HUB_NAME}/{HUB_LIBRARY}/..."
            message = f"want the registry's name: ?ns={HUB_NAME}, or {example}"
            raise _RefusedError(404, "NAME_UNKNOWN", message)
        link = {} if asked.namespace is None else {"ns": asked.namespace}
        as_received = replace(request, path=received.path)
        match endpoint:
            case Catalog() if request.path == received.path:
                return await self._lists.catalog(as_received, [("", registry)], link)
            case TagList(name):
                named = received.path.removeprefix("/v2/").removesuffix("/tags/list")
                repository = Repository(registry, name)
                return await self._lists.tags(as_received, repository, named, link)
            case Blob() | Manifest():
                return await self._pulled(await self._as_ours(request, endpoint), endpoint)
            case Referrers():
                ours = await self._as_ours(request, endpoint)
                return await self._referrers(ours, endpoint, received.path, asked.namespace)
            case _:
                raise _RefusedError(404, "NOT_FOUND", "there is nothing to pull here")

    def subject(self, received: Request, mirror: Mirror) -> tuple[Origin | None, Endpoint]:
        """The registry that a request names, and what it asks for; for the record of it."""
        try:
            asked = self._addressed(received, mirror)
        except _RefusedError:
            return mirror.registry, Other()
        return asked.registry, asked.endpoint

    def _addressed(self, request: Request, mirror: Mirror) -> _Addressed:
        """Find out which registry is meant. Raises :class:`_RefusedError`."""
        path = request.path
        try:
            named, query = namespaces(request.query)
            if len(named) > 1:
                raise _RefusedError(400, "NAME_INVALID", "want one ns")
            registry = registry_named(named[0], self._given) if named else mirror.registry
            if registry is None and (parts := split_path(path)):
                registry, path = registry_named(parts[0], self._given), parts[1]
        except ValueError:
            raise _RefusedError(400, "NAME_INVALID", "want a registry as HOST[:PORT]") from None
        if mirror.registry is not None and registry != mirror.registry:
            message = f"this is a mirror of {name_of(mirror.registry)} alone"
            raise _RefusedError(404, "NAME_UNKNOWN", message)
        if registry is not None and self._is_excluded(registry):
            raise _unreachable()
        inner = replace(
            request,
            origin=registry or request.origin,
            path=path,
            query=query,
            received=request.received or request.target,
        )
        endpoint = parse_endpoint(request.method, path, query)
        return _Addressed(registry, inner, endpoint, named[0] if named else None)

    def _is_excluded(self, registry: Origin) -> bool:
        return registry not in self._given and self._hosts.excludes(registry)

    async def _all(self) -> list[tuple[str, Origin]]:
        """Every registry of which something may be seen, and how its repositories' names begin."""
        found = ((f"{name_of(o)}/", o) for o in await self._lists.origins())
        return [
            (prefix, origin)
            for prefix, origin in found
            if registry_named(prefix[:-1], self._given) == origin and not self._is_excluded(origin)
        ]

    async def _as_ours(self, request: Request, endpoint: Blob | Manifest | Referrers) -> Request:
        """A request for content without anything that says who its client is; the account asks.

        Raises :class:`_RefusedError` where its registry is none, or none to be asked.
        """
        reach = self._reach(request.origin)
        if not await self._is_asked(request.origin, reach, request.client):
            raise _unreachable()
        account = self._accounts.of(request.origin, endpoint.name, request.client)
        return replace(
            request,
            headers=only(request.headers, SAYS_NOT_WHO),
            account=account or NOBODY,
            reach=reach,
        )

    async def _pulled(self, request: Request, endpoint: Blob | Manifest | Referrers) -> Answer:
        answer = await self._cache.handle(request, endpoint)
        try:
            self._foresee(request.origin, request.reach or self._reach(request.origin))
        except DestinationError:  # known only since: somebody else was led there
            answer.close()
            raise
        return _without_challenge(answer, _UNKNOWN[type(endpoint)])

    async def _referrers(
        self, request: Request, endpoint: Referrers, path: str, namespace: str | None
    ) -> Answer:
        """What the registry says, or last said; the next page is to be had here too."""
        answer = await self._pulled(request, endpoint)
        headers = tuple(
            (name, relinked(value, path, namespace) if name.lower() == "link" else value)
            for name, value in answer.headers
        )
        return replace(answer, headers=headers)

    def _reach(self, registry: Origin) -> Reach:
        if registry in self._given:
            return Reach.ANYWHERE
        return self._destinations.named_by_somebody(registry)

    def _foresee(self, registry: Origin, reach: Reach) -> None:
        why = self._destinations.foreseen(reach, registry.host, registry.port)
        if why is not None:
            raise DestinationError(why)

    async def _is_asked(self, registry: Origin, reach: Reach, client: str) -> bool:
        """Whether a registry that somebody named is asked for content.

        Raises ``DestinationError`` where it is known that nobody is led there.
        """
        self._foresee(registry, reach)
        if registry in self._given or self._hosts.is_listed(registry):
            return True
        return await self._hosts.is_registry(registry, reach, client)


def _without_challenge(answer: Answer, code: str) -> Answer:
    """What a client gets that can show no login here."""
    if answer.status not in (401, 403):
        return replace(answer, headers=without(answer.headers, FOR_ONE_CLIENT))
    answer.close()
    message = "the registry does not give this to whom the mirror asks as"
    how = cache_status.miss(answer.status)
    return error_answer(404, code, message).adding(how)


def _unreachable() -> _RefusedError:
    return _RefusedError(404, "NAME_UNKNOWN", "this mirror reaches no registry of that name")


def _ping(request: Request) -> Answer:
    headers: Fields = (
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Length", "2"),
        API_VERSION,
    )
    return Answer(200, headers, b"" if request.method == "HEAD" else b"{}")

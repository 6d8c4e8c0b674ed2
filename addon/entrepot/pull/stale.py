"""What is served while upstream does not answer, and to whom.

Content by digest does not age. A tag does: what it last was is served for ``max_stale`` seconds,
and marked. Neither is ever served against a refusal (400, 401, 403, 404), only instead of no
answer, of a failure (5xx) or of a rate limit (429). Who gets it:

- anybody, what this registry last gave to somebody anonymous there, unless it refused the
  repository to such since, or told such that this object or tag is not there; and what a manifest
  so served lists;
- clients for which the proxy asks as an account, in the same way what that account was given;
- whoever upstream allowed it within the time for which decisions are remembered, unless it told
  them since that the tag is not there;
- clients of the networks of ``--offline-private``, whatever is held.

Clients that could get no token, since the registry or its token server is away, go on without
one (``logins``). Upstream, which would only tell them to get a token, is not asked for what they
may have then: for a minute where it is a tag, for ten where it is content by digest.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from entrepot.auth.credentials import Credential
from entrepot.bounded_map import BoundedMap
from entrepot.config.networks import Network, is_in
from entrepot.protocol.credential import ANYONE
from entrepot.protocol.header_filters import identity_fields
from entrepot.protocol.identifiers import Digest, Origin, Reference, Repository, Tag
from entrepot.protocol.messages import Request
from entrepot.storage.manifests import StoredManifest
from entrepot.storage.tags import TagEntry
from entrepot.upstream.context import Context

MAX_STALE = 30 * 86400.0
_WITHOUT_TOKEN_SECONDS = 60.0
_STILL_PULLING_SECONDS = 600.0
"""What a client that was told to go on without a token may take for the layers of its pull."""
_MOST_SERVED = 2000
_MOST_SERVED_OF_ONE = 200
_MOST_LISTING = 8
"""Manifests, served so, that are looked at for one that lists an object and was given."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A manifest to serve for a tag, and when upstream last confirmed that it is that."""

    digest: Digest
    manifest: StoredManifest
    checked: float


@dataclass(frozen=True, slots=True)
class _Told:
    """That clients of a registry were told to go on without a token."""

    at: float
    away: frozenset[Origin]
    """The registry, or its token server."""


class Outage:
    """Belongs to one event loop."""

    def __init__(
        self, context: Context, max_stale: float = MAX_STALE, private: tuple[Network, ...] = ()
    ) -> None:
        self._context = context
        self._max_stale = max_stale
        self._private = private
        self._told: dict[Origin, _Told] = {}
        """When clients of a registry were last told to go on without a token."""
        self._served: OrderedDict[Repository, BoundedMap[bytes, Digest]] = OrderedDict()
        """The manifests that were served so, the latest last."""

    def may_ask(self, request: Request, *, by_digest: bool) -> bool:
        """Whether to ask upstream, where there is something that could be served instead."""
        seconds = _STILL_PULLING_SECONDS if by_digest else _WITHOUT_TOKEN_SECONDS
        if request.account is None and (
            request.without_token
            or (self.goes_without_token(request.origin, seconds) and not identity_fields(request))
        ):
            return False
        return self._context.gateway.may_ask_as(request, spare=True)

    def told_to_go_without_token(self, origin: Origin, away: Collection[Origin]) -> None:
        """Take in that clients of a registry were told so just now, and who is away."""
        self._told[origin] = _Told(self._context.clock(), frozenset(away))

    def goes_without_token(self, origin: Origin, within: float = _WITHOUT_TOKEN_SECONDS) -> bool:
        """Whether clients of a registry were told so within the last minute, or ``within``."""
        told = self._told.get(origin)
        return told is not None and self._context.clock() < told.at + within

    def wants_token(self, request: Request) -> bool:
        """Whether a client shows none only since none is to be had now."""
        if request.account is not None:
            return False
        if request.without_token:
            return True
        told = self._told.get(request.origin)
        return (
            told is not None
            and self.goes_without_token(request.origin)
            and not identity_fields(request)
            and any(map(self._context.health.breakers.is_away, told.away))
        )

    def is_fresh_enough(self, entry: TagEntry) -> bool:
        """Whether what a tag was then may be served now."""
        return 0 <= self._context.wall() - entry.checked < self._max_stale

    async def kept(
        self,
        request: Request,
        repository: Repository,
        tag: Tag,
        entries: dict[str, TagEntry],
        accept: str,
        who: Credential,
    ) -> Kept | None:
        """What to serve for a tag; ``entries`` are what it was, by ``Accept``, the latest last.

        What upstream chose for another ``Accept`` will do where this client takes that type too.
        """
        others = [entry for key, entry in reversed(entries.items()) if key != accept]
        taken = set(accept.split(","))
        for entry in (*([entries[accept]] if accept in entries else []), *others):
            found = await self._find(repository, entry)
            if found is None or not await self.covers(
                request, repository, found.digest, who, tag=tag
            ):
                continue
            own = entries.get(accept) is entry
            if own or "*/*" in taken or found.manifest.media_type.lower() in taken:
                return found
        return None

    async def _find(self, repository: Repository, entry: TagEntry) -> Kept | None:
        if not self.is_fresh_enough(entry):
            return None
        try:
            digest = Digest.parse(entry.digest)
        except ValueError:  # a damaged row
            return None
        store = self._context.store
        found = await self._context.store_thread.run(
            lambda: store.manifests.find(repository, digest), None
        )
        return Kept(digest, found, entry.checked) if found is not None and found.linked else None

    async def covers(
        self,
        request: Request,
        repository: Repository,
        digest: Digest,
        who: Credential,
        *,
        tag: Tag | None = None,
    ) -> bool:
        """Whether a client may have an object that this repository is known to have.

        With ``tag``, as what that was.
        """
        context = self._context
        gone = tag is not None and await self._is_gone(repository, tag, who)
        if not gone and context.access.is_allowed(repository, who, digest, context.clock()):
            return True
        if gone and who.label is None:
            return False
        if is_in(request.client, self._private):
            return True
        given: list[tuple[Digest, Reference | None]] = [(digest, tag)]
        given += [(one, digest) for one in self._listing(repository, digest)]
        for label in dict.fromkeys((ANYONE, who.label or ANYONE)):
            for one, asked in given:
                if await self._was_given(repository, one, label, asked):
                    return True
        return False

    async def _is_gone(self, repository: Repository, tag: Tag, who: Credential) -> bool:
        """Whether the last that such a client was told of a tag is that it is not there."""
        context, label = self._context, who.label
        if label is None:
            return context.access.is_gone(repository, who, tag)
        return await context.store_thread.run(
            lambda: context.store.decisions.is_gone(repository, tag, label), otherwise=False
        )

    async def _was_given(
        self, repository: Repository, digest: Digest, label: str, asked: Reference | None
    ) -> bool:
        store = self._context.store
        return await self._context.store_thread.run(
            lambda: store.decisions.was_given(repository, digest, label, asked), otherwise=False
        )

    def serves(
        self, repository: Repository, digest: Digest, listed: Callable[[], Collection[Digest]]
    ) -> None:
        """Take in that a manifest is served so: who was given it was given what it lists."""
        self._context.access.listings.learn(digest, listed)
        served = self._served.setdefault(repository, BoundedMap(_MOST_SERVED_OF_ONE))
        self._served.move_to_end(repository)
        served.put(digest.raw, digest)
        while len(self._served) > 1 and sum(map(len, self._served.values())) > _MOST_SERVED:
            self._served.popitem(last=False)

    def _listing(self, repository: Repository, digest: Digest) -> list[Digest]:
        """What was served so and lists an object, and what lists that; the latest first."""
        served, lists = self._served.get(repository), self._context.access.listings.lists
        if served is None:
            return []
        found = [raw for raw in reversed(served) if lists(raw, digest.raw)]
        found += [raw for raw in reversed(served) if any(lists(raw, one) for one in found)]
        return [served[raw] for raw in dict.fromkeys(found)][:_MOST_LISTING]

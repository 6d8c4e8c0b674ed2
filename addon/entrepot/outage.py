"""What is served while upstream does not answer, and to whom.

Content by digest does not age. A tag does: what it last was is served for ``max_stale`` seconds,
and marked. Neither is ever served against a refusal (400, 401, 403, 404), only instead of no
answer, of a failure (5xx) or of a rate limit (429). Who gets it:

- anybody, what this registry last gave to somebody anonymous there, unless it refused the
  repository to such since; and what a manifest so served lists;
- clients for which the proxy asks as an account, in the same way what that account was given;
- whoever upstream allowed it within the time for which decisions are remembered;
- clients of the networks of ``--offline-private``, whatever is held.

Clients that could get no token, since the registry or its token server is away, go on without
one (``logins``). Upstream, which would only tell them to get a token, is not asked for what they
may have then: for a minute where it is a tag, for ten where it is content by digest.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from entrepot.access import Credential
from entrepot.account import ANYONE
from entrepot.driver import Driver
from entrepot.entries import StoredManifest, TagEntry
from entrepot.identity import identity_fields
from entrepot.message import Request
from entrepot.networks import Network, is_in
from entrepot.reference import Digest, Origin, Repository

MAX_STALE = 30 * 86400.0
_WITHOUT_TOKEN_SECONDS = 60.0
_STILL_PULLING_SECONDS = 600.0
"""What a client that was told to go on without a token may take for the layers of its pull."""
_MOST_LISTED = 20_000


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
        self, driver: Driver, max_stale: float = MAX_STALE, private: tuple[Network, ...] = ()
    ) -> None:
        self._driver = driver
        self._max_stale = max_stale
        self._private = private
        self._told: dict[Origin, _Told] = {}
        """When clients of a registry were last told to go on without a token."""
        self._listed: OrderedDict[tuple[Repository, Digest], Digest] = OrderedDict()
        """By what an object is listed that was served so."""

    def may_ask(self, request: Request, *, by_digest: bool) -> bool:
        """Whether to ask upstream, where there is something that could be served instead."""
        seconds = _STILL_PULLING_SECONDS if by_digest else _WITHOUT_TOKEN_SECONDS
        if request.account is None and (
            request.without_token
            or (self.goes_without_token(request.origin, seconds) and not identity_fields(request))
        ):
            return False
        return self._driver.may_ask_as(request, spare=True)

    def told_to_go_without_token(self, origin: Origin, away: Collection[Origin]) -> None:
        """Take in that clients of a registry were told so just now, and who is away."""
        self._told[origin] = _Told(self._driver.clock(), frozenset(away))

    def goes_without_token(self, origin: Origin, within: float = _WITHOUT_TOKEN_SECONDS) -> bool:
        """Whether clients of a registry were told so within the last minute, or ``within``."""
        told = self._told.get(origin)
        return told is not None and self._driver.clock() < told.at + within

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
            and any(map(self._driver.breakers.is_away, told.away))
        )

    def is_fresh_enough(self, entry: TagEntry) -> bool:
        """Whether what a tag was then may be served now."""
        return 0 <= self._driver.wall() - entry.checked < self._max_stale

    async def kept(
        self,
        request: Request,
        repository: Repository,
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
            if found is None or not await self.covers(request, repository, found.digest, who):
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
        store = self._driver.store
        found = await self._driver.stored(lambda: store.find_manifest(repository, digest), None)
        return Kept(digest, found, entry.checked) if found is not None and found.linked else None

    async def covers(
        self, request: Request, repository: Repository, digest: Digest, who: Credential
    ) -> bool:
        """Whether a client may have an object that this repository is known to have."""
        driver = self._driver
        if driver.access.is_allowed(repository, who, digest, driver.clock()):
            return True
        if is_in(request.client, self._private):
            return True
        labels = dict.fromkeys((ANYONE, who.label or ANYONE))
        listing = self._listed.get((repository, digest))
        for one in (digest, *([listing] if listing is not None else [])):
            for label in labels:
                if await self._was_given(repository, one, label):
                    return True
        return False

    async def _was_given(self, repository: Repository, digest: Digest, label: str) -> bool:
        store = self._driver.store
        return await self._driver.stored(
            lambda: store.was_given(repository, digest, label), otherwise=False
        )

    def serves(self, repository: Repository, digest: Digest, listed: Collection[Digest]) -> None:
        """Take in that a manifest is served so: who was given it was given what it lists."""
        digest = self._listed.get((repository, digest), digest)  # an index's, for its manifests
        for one in listed:
            self._listed[repository, one] = digest
            self._listed.move_to_end((repository, one))
        while len(self._listed) > _MOST_LISTED:
            self._listed.popitem(last=False)

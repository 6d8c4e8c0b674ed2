"""Stale-if-error (RFC 5861): what is served while upstream does not answer, and to whom.

Content by digest does not age. A tag does: what it last was is served for ``max_stale`` seconds,
with a ``Warning``. Neither is ever served against a refusal (400, 401, 403, 404), only instead of
no answer, of a failure (5xx) or of a rate limit (429).

Upstream cannot decide now (``authorization``); what it said before decides. Who gets it:

- anybody gets what the registry last gave to anonymous clients in this repository, and what a stale
  manifest lists that they were given. Not where the registry, since then, refused them the
  repository, or told them that this object or tag is not there;
- clients for which the proxy asks as an account get, by the same rule, what that account was given;
- whoever holds a grant that still counts (``auth.grants``) gets what it covers, unless upstream
  told that client since that the tag is not there (``manifests.tag_history``);
- clients of the networks of ``--offline-private`` get whatever is held.

What was given, refused and not found is remembered on disk, by whom it was told: anonymous clients,
or an account (``storage.past_grants``).
"""

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from entrepot.bounded_map import BoundedMap
from entrepot.config.networks import Network, is_in
from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Repository, Tag
from entrepot.protocol.messages import Request
from entrepot.pull.pull import Pull, TagPull
from entrepot.pull.without_token import WithoutToken
from entrepot.storage.manifests import StoredManifest
from entrepot.storage.tags import TagEntry
from entrepot.upstream.context import Context

MAX_STALE = 30 * 86400.0

_MOST_SERVED = 2000
_MOST_SERVED_OF_ONE = 200
_MOST_LISTING = 8
"""Stale manifests that are looked at for one that lists an object and was given."""


@dataclass(frozen=True, slots=True)
class StaleManifest:
    """A manifest to serve for a tag, and when upstream last confirmed that it is that."""

    digest: Digest
    manifest: StoredManifest
    checked: float


class StaleIfError:
    """Decides who may have what the cache holds, where upstream cannot be asked."""

    def __init__(
        self, context: Context, max_stale: float = MAX_STALE, private: tuple[Network, ...] = ()
    ) -> None:
        """``max_stale``: seconds since a tag was confirmed; ``private``: ``--offline-private``."""
        self.without_token = WithoutToken(context.clock, context.health.breakers.is_away)
        self._context = context
        self._max_stale = max_stale
        self._private = private
        self._served: OrderedDict[Repository, BoundedMap[bytes, Digest]] = OrderedDict()
        """The manifests that were served while upstream was away, the latest last."""

    def may_ask(self, request: Request, *, by_digest: bool) -> bool:
        """Whether to ask upstream, where there is something that could be served instead."""
        if self.without_token.would_be_challenged(request, by_digest=by_digest):
            return False
        return self._context.gateway.may_ask_as(request, fallback=True)

    def is_fresh_enough(self, entry: TagEntry) -> bool:
        """Whether what a tag was then may be served now."""
        return self.is_recent(entry.checked)

    def is_recent(self, checked: float) -> bool:
        """Whether what upstream said at that time of day may be served now."""
        return 0 <= self._context.wall() - checked < self._max_stale

    @property
    def gives_all_that_is_held(self) -> bool:
        """Whether there are clients who get whatever is held."""
        return bool(self._private)

    def has_all_that_is_held(self, request: Request) -> bool:
        """Whether a client is of the networks of ``--offline-private``."""
        return is_in(request.client, self._private)

    async def find(self, pull: TagPull, entries: dict[str, TagEntry]) -> StaleManifest | None:
        """What to serve for a tag; ``entries`` are what it was, by ``Accept``, the latest last.

        What upstream chose for another ``Accept`` will do where this client takes that type too.
        """
        accept = pull.accept
        others = [entry for key, entry in reversed(entries.items()) if key != accept]
        taken = set(accept.split(","))
        for entry in (*([entries[accept]] if accept in entries else []), *others):
            found = await self._find(pull.repository, entry)
            if found is None or not await self.may_have(pull.at(found.digest), tag=pull.tag):
                continue
            own = entries.get(accept) is entry
            if own or "*/*" in taken or found.manifest.media_type.lower() in taken:
                return found
        return None

    async def _find(self, repository: Repository, entry: TagEntry) -> StaleManifest | None:
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
        if found is None or not found.linked:
            return None
        return StaleManifest(digest, found, entry.checked)

    async def may_have(self, pull: Pull, *, tag: Tag | None = None) -> bool:
        """Whether a client may have an object that this repository is known to have.

        With ``tag``, as what that was.
        """
        context, who, repository = self._context, pull.who, pull.repository
        gone = await self._is_gone(repository, tag, who.heard_as)
        now = context.clock()
        if not gone and context.access.is_allowed(repository, who, pull.digest, now):
            return True
        if gone and who.label is None:
            return False
        if self.has_all_that_is_held(pull.request):
            return True
        given: list[tuple[Digest, Digest | None]] = [(pull.digest, None)]
        given += [(one, pull.digest) for one in self._listing(repository, pull.digest)]
        for label in dict.fromkeys((ANYONE, who.label or ANYONE)):
            if await self._is_gone(repository, tag, label):
                continue
            for one, listed in given:
                if await self._was_given(repository, one, label, listed):
                    return True
        return False

    async def _is_gone(self, repository: Repository, tag: Tag | None, whose: str) -> bool:
        """Whether the last that such clients were told of a tag is that it is not there.

        Memory knows it of each login, and of tags that nobody was given; the store of the others.
        """
        if tag is None:
            return False
        context = self._context
        if context.access.is_gone(repository, whose, tag):
            return True
        return await context.store_thread.run(
            lambda: context.store.decisions.is_gone(repository, tag, whose), otherwise=False
        )

    async def _was_given(
        self, repository: Repository, digest: Digest, label: str, listed: Digest | None
    ) -> bool:
        store = self._context.store
        return await self._context.store_thread.run(
            lambda: store.decisions.was_given(repository, digest, label, listed), otherwise=False
        )

    def served(
        self, repository: Repository, digest: Digest, listed: Callable[[], Collection[Digest]]
    ) -> None:
        """Remember a manifest that was served while upstream is away.

        Whoever was given it before may have what it lists (``listed``) too: else a pull would get
        the manifest and none of its layers.
        """
        self._context.access.listings.learn(digest, listed)
        served = self._served.setdefault(repository, BoundedMap(_MOST_SERVED_OF_ONE))
        self._served.move_to_end(repository)
        served.put(digest.raw, digest)
        while len(self._served) > 1 and sum(map(len, self._served.values())) > _MOST_SERVED:
            self._served.popitem(last=False)

    def _listing(self, repository: Repository, digest: Digest) -> list[Digest]:
        """The stale manifests that list an object, and those that list these; the latest first."""
        served, lists = self._served.get(repository), self._context.access.listings.lists
        if served is None:
            return []
        found = [raw for raw in reversed(served) if lists(raw, digest.raw)]
        found += [raw for raw in reversed(served) if any(lists(raw, one) for one in found)]
        return [served[raw] for raw in dict.fromkeys(found)][:_MOST_LISTING]


def warning(age: float, what: str = "tag") -> tuple[str, str]:
    """The ``Warning`` of what was last confirmed ``age`` seconds ago (RFC 7234 section 5.5).

    299, "Miscellaneous Persistent Warning", is text for people and logs.
    """
    text = f"the registry does not answer; it last confirmed this {what} {age:.0f} s ago"
    return ("Warning", f'299 entrepot "{text}"')

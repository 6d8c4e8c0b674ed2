"""Manifests by digest: from the store, to who may have them.

What upstream allows of a manifest it allows of the digests that it lists, for the same client
and time: so a warm pull costs one HEAD. That is a grant only; whether a repository *has* a listed
object is known from its registry alone (``storage.repository_links``), since a manifest may list
what its author never had.
"""

from entrepot.http_client.errors import UpstreamError
from entrepot.protocol import cache_status
from entrepot.protocol.messages import Answer
from entrepot.protocol.statuses import TRANSIENT
from entrepot.pull.authorization import Authorization
from entrepot.pull.manifests.fetch import ManifestFetch
from entrepot.pull.manifests.held import HeldManifests
from entrepot.pull.pull import Pull
from entrepot.pull.stale import StaleIfError
from entrepot.storage.manifests import StoredManifest
from entrepot.upstream.context import Context


class ManifestsByDigest:
    """Answers GET and HEAD of manifests by their digest."""

    def __init__(
        self,
        context: Context,
        authorization: Authorization,
        held: HeldManifests,
        fetch: ManifestFetch,
        stale: StaleIfError,
    ) -> None:
        self._context = context
        self._authorization = authorization
        self._held = held
        self._fetch = fetch
        self._stale = stale

    async def answer(self, pull: Pull) -> Answer:
        """Answer a request. Raises ``UpstreamError`` and ``NoManifestError``."""
        found = await self._held.find(pull)
        if found is None and pull.request.method == "HEAD":
            head = await self._fetch.head(pull)
            if head.is_enough:
                return head.answer()
        if found is None:
            return await self._fetch.get(pull)
        if not (found.linked and self._authorization.is_granted(pull)):
            allowed = await self._is_allowed(pull, found)
            if allowed is None:
                self._stale.served(pull.repository, pull.digest, found.listed)
                return self._held.hit(pull, found, cache_status.UNCONFIRMED)
            if not allowed:
                return await self._fetch.get(pull)
        self._context.access.extend(pull.repository, pull.who, pull.digest, found.listed)
        return self._held.hit(pull, found, cache_status.HIT)

    async def _is_allowed(self, pull: Pull, found: StoredManifest) -> bool | None:
        """Whether upstream allows it, as far as a HEAD tells; a GET tells the rest.

        None where upstream does not say, and the client may have it none the less.
        """
        has_fallback = found.linked and await self._stale.may_have(pull)
        if has_fallback and not self._stale.may_ask(pull.request, by_digest=True):
            return None
        try:
            head = await self._fetch.head(pull, fallback=has_fallback)
        except UpstreamError:
            if has_fallback:
                return None
            raise
        if has_fallback and head.status in TRANSIENT:
            return None
        allowed = head.status == 200 and head.evidence.can_be(pull.digest, len(found.content))
        if allowed:
            await self._authorization.grant(pull, head.evidence.asked)
        return allowed

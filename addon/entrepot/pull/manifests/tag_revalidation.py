"""Manifests by tag: revalidated by HEAD upstream (promise 5: a tag is never silently stale).

A tag moves, so upstream is asked every time, but only by HEAD where that can spare the rest:
Docker Hub counts manifest GETs, not HEADs. Two decisions, both pure: how to ask first
(:func:`first_method`), and what upstream's answer means for what is held (:func:`judge`). Where no
answer comes, what the tag last was is served, marked as stale (see ``stale``).
"""

from dataclasses import replace
from enum import Enum

from entrepot.auth.grants import Asked
from entrepot.events.table import Event
from entrepot.http_client.errors import UpstreamError
from entrepot.protocol import cache_status
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import Answer
from entrepot.protocol.statuses import TRANSIENT
from entrepot.pull.authorization import Authorization
from entrepot.pull.manifests.fetch import ManifestFetch
from entrepot.pull.manifests.held import HeldManifests
from entrepot.pull.manifests.tag_history import TagHistory
from entrepot.pull.pull import TagPull
from entrepot.pull.stale import StaleIfError, StaleManifest, warning
from entrepot.storage.manifests import StoredManifest
from entrepot.storage.tags import TagEntry
from entrepot.upstream.context import Context


class Method(Enum):
    """How to ask upstream about a tag."""

    HEAD = "revalidate: one HEAD may spare the GET"
    GET = "fetch: nothing is known that a HEAD could confirm"


class Verdict(Enum):
    """What to do with upstream's answer to that HEAD."""

    SERVE = "unchanged: the held manifest is the answer"
    FETCH = "changed, not held, or not said: GET it"
    RELAY = "not a success: the client gets upstream's own answer"


def first_method(method: str, *, known: bool) -> Method:
    """How to ask about a tag that a client requests by ``method``.

    ``known`` is whether this tag was seen before, with whatever ``Accept``.
    """
    return Method.HEAD if method == "HEAD" or known else Method.GET


def judge(status: int, digest: Digest | None, *, held: bool) -> Verdict:
    """What upstream's answer to a HEAD means.

    ``digest`` is its ``Docker-Content-Digest``, where that was usable; ``held``: that digest is in
    the cache, allowed.
    """
    if status != 200:
        return Verdict.RELAY
    return Verdict.SERVE if held and digest is not None else Verdict.FETCH


class ManifestsByTag:
    """Answers GET and HEAD of manifests by tag."""

    def __init__(
        self,
        context: Context,
        authorization: Authorization,
        held: HeldManifests,
        fetch: ManifestFetch,
        history: TagHistory,
        stale: StaleIfError,
    ) -> None:
        self._context = context
        self._authorization = authorization
        self._held = held
        self._fetch = fetch
        self._history = history
        self._stale = stale

    async def answer(self, pull: TagPull) -> Answer:
        """Ask, and where no answer comes serve what the tag last was.

        Whether that can be is looked up only then: a pull that goes well must not pay for it.
        Raises ``UpstreamError`` and ``NoManifestError``.
        """
        entries = await self._entries(pull)
        known, stale = bool(entries), self._stale
        has_fallback = any(map(stale.is_fresh_enough, entries.values()))
        if has_fallback and not stale.may_ask(pull.request, by_digest=False):
            found = await stale.find(pull, entries)
            if found is not None:
                return self._serve_stale(pull, found, "the registry is not asked now")
            has_fallback = False
        try:
            answer = await self._ask(pull, known=known, fallback=has_fallback)
        except UpstreamError as error:
            why = str(error)
            found = await stale.find(pull, entries)
            if found is None and not has_fallback:
                raise
        else:
            if answer.status not in TRANSIENT:
                return answer
            why = f"the registry answered {answer.status}"
            found = await stale.find(pull, entries)
            if found is None and not has_fallback:
                return answer
            answer.close()
        if found is not None:
            return self._serve_stale(pull, found, why)
        return await self._ask(pull, known=known, fallback=False)

    async def _entries(self, pull: TagPull) -> dict[str, TagEntry]:
        """What the tag was, by ``Accept``; clients differ in it, and mostly get the same."""
        store = self._context.store
        nothing: dict[str, TagEntry] = {}
        return await self._context.store_thread.run(
            lambda: store.tags.get(pull.repository, pull.tag.name), nothing
        )

    def _serve_stale(self, pull: TagPull, found: StaleManifest, why: str) -> Answer:
        """What a tag was when upstream last answered, with a ``Warning``."""
        context, repository = self._context, pull.repository
        self._stale.served(repository, found.digest, found.manifest.listed)
        age = max(0.0, context.wall() - found.checked)
        context.events.log(
            Event.TAG_STALE, tag=pull.tag.name, repository=repository, age=f"{age:.0f}s"
        )
        answer = self._held.hit(pull.at(found.digest), found.manifest, cache_status.STALE, age=age)
        return replace(answer.adding(warning(age)), why=why)

    async def _ask(self, pull: TagPull, *, known: bool, fallback: bool) -> Answer:
        """What upstream says a tag is; ``fallback`` where something could be served instead."""
        method = pull.request.method
        if first_method(method, known=known) is Method.GET:
            return await self._fetch.get(pull)
        head = await self._fetch.head(pull, fallback=fallback)
        if head.status in TRANSIENT and fallback:
            return head.answer()
        found, digest = None, head.evidence.digest
        if head.status == 200 and digest is not None:
            found = await self._confirmed(pull, digest, head.evidence.asked)
        if method == "HEAD" and head.is_enough:
            return head.answer()
        verdict = judge(head.status, digest, held=found is not None)
        if verdict is Verdict.SERVE and found is not None and digest is not None:
            return self._held.hit(pull.at(digest), found, cache_status.REVALIDATED, age=0.0)
        patient = head.status not in TRANSIENT  # else the HEAD has just waited
        return await self._fetch.get(pull, patient=patient)

    async def _confirmed(
        self, pull: TagPull, digest: Digest, asked: Asked
    ) -> StoredManifest | None:
        """Remember what upstream says a tag is now; that manifest, where it is held."""
        context, of_digest = self._context, pull.at(digest)
        await self._authorization.grant(of_digest, asked)
        await context.store_thread.run(self._history.found(pull, digest, asked), None)
        found = await self._held.find(of_digest)
        if found is not None:
            context.access.extend(pull.repository, pull.who, digest, found.listed)
        return found

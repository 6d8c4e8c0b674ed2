"""Blobs: answered from the store, from a running fetch, or by starting one.

For each request, in this order: a hit that a remembered grant covers; upstream's decision where
the bytes are here or on their way; else one fetch as this client, which is upstream's decision
too. Whoever asks for the same blob of the same registry meanwhile follows that fetch, each with a
decision of its own.
"""

import asyncio
from dataclasses import dataclass, replace

from entrepot.events.counters import Counter
from entrepot.http_client.errors import UpstreamError
from entrepot.protocol import cache_status
from entrepot.protocol.messages import Answer
from entrepot.protocol.statuses import TRANSIENT
from entrepot.pull.authorization import Authorization, Evidence
from entrepot.pull.blobs.answers import BlobAnswers, drop
from entrepot.pull.blobs.fetches import Fetches
from entrepot.pull.blobs.head import BlobHead
from entrepot.pull.blobs.rehash_before_serving import Integrity
from entrepot.pull.pull import Pull
from entrepot.pull.stale import StaleIfError
from entrepot.storage.blobs import StoredBlob
from entrepot.transfer.download import Download
from entrepot.transfer.growing_file import State
from entrepot.upstream.context import Context

_ASKED = "held, and the registry was asked whether this client may have it"


@dataclass(slots=True)
class _Search:
    """What one request has found out so far of the blob that it asks for."""

    evidence: Evidence | None = None
    """What upstream showed this client of it."""
    verified: StoredBlob | None = None
    """The stored blob, after its bytes were verified."""
    damaged: bool = False
    """Whether they were not the right ones; then it is here no more."""


class BlobLookup:
    """Answers GET and HEAD of blobs."""

    def __init__(
        self, context: Context, authorization: Authorization, fetches: Fetches, stale: StaleIfError
    ) -> None:
        self._context = context
        self._authorization = authorization
        self._fetches = fetches
        self._stale = stale
        self._integrity = Integrity(context)
        self._answers = BlobAnswers(context)
        self._head = BlobHead(context, authorization)

    async def answer(self, pull: Pull) -> Answer:
        """Answer a request for a blob. Raises ``UpstreamError``.

        Each question that is waited for (to upstream, to another's fetch, to the disk) may have
        changed what is here: so the blob is looked for again after it, until there is an answer.
        """
        search = _Search()
        while True:
            ended = self._fetches.ended
            found, search.verified = search.verified, None
            if found is None and not search.damaged:
                found = await self._find(pull)
            if found is not None:
                answer = await self._from_store(pull, search, found)
            else:
                answer = await self._from_upstream(pull, search, ended)
            if answer is not None:
                return answer

    async def _find(self, pull: Pull) -> StoredBlob | None:
        store = self._context.store
        return await self._context.store_thread.run(
            lambda: store.blobs.find(pull.repository, pull.digest), None
        )

    # What is stored

    async def _from_store(self, pull: Pull, search: _Search, found: StoredBlob) -> Answer | None:
        """Serve a stored blob to who may have it; None: look again, with what was learnt."""
        if search.evidence is None and not self._is_decided(pull, found):
            outcome = await self._ask(pull, found)
            if isinstance(outcome, Answer):
                drop(found)
                return outcome
            if outcome is not None:
                drop(found)
                search.evidence = outcome
                return None
            if not _is_doubtful(pull, found):
                return self._answers.hit(pull, found, cache_status.UNCONFIRMED)
        elif not _is_doubtful(pull, found, search.evidence):
            return await self._serve(pull, found, search.evidence)
        search.verified = await self._integrity.verified(found, pull.digest)
        search.damaged = search.verified is None
        self._expire(pull, search)
        return None

    async def _serve(self, pull: Pull, found: StoredBlob, evidence: Evidence | None) -> Answer:
        """Serve a stored blob, unless what upstream showed just now is something else."""
        if evidence is None:
            return self._answers.hit(pull, found)
        if evidence.can_be(pull.digest, found.size):
            await self._authorization.grant(pull, evidence.asked)
            return replace(self._answers.hit(pull, found), why=_ASKED)
        drop(found)
        self._context.access.deny(pull.repository, pull.who)
        if pull.request.method == "HEAD":
            return await self._head.answer(pull)
        return await self._fetches.unstored.answer(pull)

    # What is on its way, or not here

    async def _from_upstream(self, pull: Pull, search: _Search, ended: int) -> Answer | None:
        """Follow a running fetch, or start one; None: look again, with what was learnt.

        ``ended`` is how many fetches had ended before the blob was looked for.
        """
        request, fetches = pull.request, self._fetches
        if request.method == "HEAD":
            return await self._head.answer(pull)
        if not fetches.has(pull.key):
            if fetches.ended == ended:
                return await self._miss(pull)
            search.damaged = False
            return None  # it may have been committed since it was looked for
        if self._authorization.is_granted(pull) and await fetches.wait_opened(pull.key, request):
            return None  # it is known by now that this repository has it
        if search.evidence is None and not self._is_decided(pull, None):
            outcome = await self._ask(pull, None)
            if isinstance(outcome, Answer):
                return outcome
            search.evidence = outcome
        elif followed := await self._follow(pull, search.evidence):
            return followed
        else:
            self._expire(pull, search)
        return None

    async def _miss(self, pull: Pull) -> Answer:
        # A task of its own, since the client's leaving must not end it.
        begun = await asyncio.shield(self._fetches.start(pull))
        if isinstance(begun, Answer):
            return begun
        answer = await self._answers.follow(
            pull.request, begun.download, begun.opened, cache_status.STORED
        )
        return replace(answer, fetching=begun.download)

    async def _follow(self, pull: Pull, evidence: Evidence | None) -> Answer | None:
        """Follow a running fetch; None, after a while, where it is none to follow."""
        fetches, key = self._fetches, pull.key
        download = fetches.running.get(key)
        if download is None:
            await fetches.wait_opened(key, pull.request)
            return None
        if not _may_follow(download, evidence):
            await download.retired.wait()
            return None
        self._context.events.count(Counter.BLOB_COLLAPSED)
        if evidence is not None:
            fetches.grant_when_verified(pull, evidence.asked)
        begun = fetches.follow(pull)
        return await self._answers.follow(
            pull.request, begun.download, begun.opened, cache_status.COLLAPSED
        )

    # Who may have it

    def _is_decided(self, pull: Pull, found: StoredBlob | None) -> bool:
        """Whether no question is needed: the repository has the blob, and a grant covers it."""
        download = self._fetches.running.get(pull.key)
        here = (found is not None and found.linked) or (
            download is not None and pull.repository in download.repositories
        )
        return here and (
            self._authorization.is_granted(pull) or self._fetches.has_pending_grant(pull)
        )

    async def _ask(self, pull: Pull, found: StoredBlob | None) -> Evidence | Answer | None:
        """Upstream's evidence of a blob, or its refusal.

        None where upstream is away, and the client may have what was found all the same
        (``stale``). Raises ``UpstreamError``.
        """
        has_fallback = found is not None and found.linked and await self._stale.may_have(pull)
        if has_fallback and not self._stale.may_ask(pull.request, by_digest=True):
            return None
        try:
            outcome = await self._authorization.ask_for_blob(pull, fallback=has_fallback)
        except UpstreamError:
            if has_fallback:
                return None
            drop(found)
            raise
        if has_fallback and isinstance(outcome, Answer) and outcome.status in TRANSIENT:
            outcome.close()
            return None
        return outcome

    def _expire(self, pull: Pull, search: _Search) -> None:
        """Forget what upstream showed, where that is too long ago to be acted on."""
        if search.evidence and not self._authorization.still_counts(pull, search.evidence.asked):
            search.evidence = None


def _is_doubtful(pull: Pull, found: StoredBlob, evidence: Evidence | None = None) -> bool:
    """Whether bytes are to be served that must be verified before (``rehash_before_serving``).

    Not where upstream showed something else: the client may not have them, and whether they are
    damaged is nothing to it.
    """
    served = pull.request.method == "GET"
    may = evidence is None or evidence.can_be(pull.digest, found.size)
    return served and may and not found.sound


def _may_follow(download: Download, evidence: Evidence | None) -> bool:
    """Whether a running fetch can be what upstream showed (None: this client is granted it)."""
    if download.file.state is State.FAILED:
        return False
    return evidence is None or evidence.can_be(download.digest, download.file.size)

"""Manifests: by digest from the store, by tag after one HEAD upstream.

What upstream allows of a manifest it allows of the digests that it lists, for the same client
and time: so a warm pull costs one HEAD. That is permission only; whether a repository *has* a
listed object is known from its registry alone (see ``store``), since a manifest may list what
its author never had.
"""

from dataclasses import dataclass, replace

from entrepot.auth.credentials import Credential
from entrepot.auth.grants import Asked
from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.header_filters import FOR_ONE_CLIENT, OF_A_MANIFEST, only, without
from entrepot.protocol.headers import normalise_accept
from entrepot.protocol.identifiers import Digest, Reference, Repository, Tag
from entrepot.protocol.manifests import MAX_SIZE, is_cacheable, listed_digests
from entrepot.protocol.messages import (
    Answer,
    Fields,
    Request,
    error_answer,
    said_digest,
)
from entrepot.protocol.statuses import GONE, TRANSIENT
from entrepot.pull import authorization, tag_freshness
from entrepot.pull.authorization import Shown
from entrepot.pull.stale import Kept, Outage
from entrepot.pull.tag_history import TagWords
from entrepot.storage.manifests import StoredManifest
from entrepot.storage.tags import TagEntry
from entrepot.transfer.range_answers import Content, content_answer
from entrepot.upstream.context import Context
from entrepot.upstream.redirected_answers import is_elsewhere, is_page

_ATTEMPTS = 3
"""How often a manifest is asked for whose body breaks off."""


@dataclass(frozen=True, slots=True)
class _Head:
    """A HEAD's outcome, to be shared by all who asked at once."""

    status: int
    headers: Fields
    shown: Shown

    @property
    def is_enough(self) -> bool:
        """Whether a client can use it: docker ends a pull where a HEAD names no length.

        An answer that upstream chunks or compresses has none, or that of the compressed bytes.
        """
        names = {name.lower() for name, _ in self.headers}
        has_length = "content-length" in names and "content-encoding" not in names
        return self.status != 200 or has_length


class _NoManifestError(Exception):
    """Upstream answered with success and with something else than a manifest.

    No failure of upstream's: what is held is not served in its place.
    """


class Manifests:
    """Answers GET and HEAD of manifests."""

    def __init__(self, context: Context, outage: Outage) -> None:
        self._context = context
        self._outage = outage
        self._tags = TagWords(context)

    def changed(self, repository: Repository, tag: str) -> None:
        """Take in that a client just wrote or deleted a tag: what was asked before is no news."""
        self._tags.changed(repository, tag)

    async def answer(
        self, request: Request, repository: Repository, reference: Reference
    ) -> Answer:
        """Answer a request for a manifest. Raises ``UpstreamError``."""
        who = self._context.access.credentials.of(request)
        try:
            if isinstance(reference, Digest):
                return await self._by_digest(request, repository, reference, who)
            return await self._by_tag(request, repository, reference, who)
        except _NoManifestError as error:
            self._context.events.log(Event.UPSTREAM_FAILED, repository=repository, reason=error)
            how = cache_status.miss(200)
            return error_answer(502, "MANIFEST_INVALID", f"upstream: {error}").adding(how)

    async def _by_digest(
        self, request: Request, repository: Repository, digest: Digest, who: Credential
    ) -> Answer:
        context = self._context
        found = await self._find(repository, digest)
        if found is None and request.method == "HEAD":
            head = await self._head(request, repository, digest, who)
            if head.is_enough:
                return _head_answer(head)
        if found is None:
            return await self._fetch_once(request, repository, digest, who)
        known = context.access.is_allowed(repository, who, digest, context.clock())
        if not (found.linked and known):
            word = await self._permitted(request, repository, digest, who, found)
            if word is None:
                self._outage.serves(repository, digest, found.listed)
                return self._hit(request, digest, found, cache_status.UNCONFIRMED)
            if not word:
                return await self._fetch_once(request, repository, digest, who)
        context.access.extend(repository, who, digest, found.listed)
        return self._hit(request, digest, found, cache_status.HIT)

    async def _permitted(
        self,
        request: Request,
        repository: Repository,
        digest: Digest,
        who: Credential,
        found: StoredManifest,
    ) -> bool | None:
        """Whether upstream allows it, as far as a HEAD tells; a GET tells the rest.

        None where upstream does not say, and the client may have it none the less.
        """
        context = self._context
        spare = found.linked and await self._outage.covers(request, repository, digest, who)
        if spare and not self._outage.may_ask(request, by_digest=True):
            return None
        try:
            head = await self._head(request, repository, digest, who, brief=spare)
        except UpstreamError:
            if spare:
                return None
            raise
        if spare and head.status in TRANSIENT:
            return None
        permitted = head.status == 200 and head.shown.can_be(digest, len(found.content))
        if permitted:
            await authorization.allow(context, repository, digest, who, head.shown.asked)
        return permitted

    async def _by_tag(
        self, request: Request, repository: Repository, tag: Tag, who: Credential
    ) -> Answer:
        """Ask, and where no answer comes serve what the tag last was.

        Whether that can be is looked up only then: a pull that goes well must not pay for it.
        """
        store = self._context.store
        # Clients differ in Accept and mostly get the same: one that saw the tag spares others.
        nothing: dict[str, TagEntry] = {}
        entries = await self._context.store_thread.run(
            lambda: store.tags.get(repository, tag.name), nothing
        )
        accept, known = normalise_accept(request.values("Accept")), bool(entries)

        async def kept() -> Kept | None:
            return await self._outage.kept(request, repository, tag, entries, accept, who)

        hopeful = any(self._outage.is_fresh_enough(entry) for entry in entries.values())
        found = None
        if hopeful and not self._outage.may_ask(request, by_digest=False):
            found = await kept()
            if found is not None:
                return self._stale(request, repository, tag, found)
            hopeful = False
        try:
            answer = await self._ask(request, repository, tag, who, known=known, brief=hopeful)
        except UpstreamError:
            found = await kept() if known else None
            if found is None and not hopeful:
                raise
        else:
            if answer.status not in TRANSIENT:
                return answer
            found = await kept() if known else None
            if found is None and not hopeful:
                return answer
            answer.close()
        if found is not None:
            return self._stale(request, repository, tag, found)
        return await self._ask(request, repository, tag, who, known=known, brief=False)

    def _stale(self, request: Request, repository: Repository, tag: Tag, kept: Kept) -> Answer:
        """What a tag was when upstream last answered, marked as such (RFC 7234 section 5.5)."""
        self._outage.serves(repository, kept.digest, kept.manifest.listed)
        age = max(0.0, self._context.wall() - kept.checked)
        self._context.events.log(
            Event.TAG_STALE, tag=tag.name, repository=repository, age=f"{age:.0f}s"
        )
        answer = self._hit(request, kept.digest, kept.manifest, cache_status.STALE, age=age)
        text = f"the registry does not answer; it last confirmed this tag {age:.0f} s ago"
        return answer.adding(("Warning", f'299 entrepot "{text}"'))

    async def _ask(
        self,
        request: Request,
        repository: Repository,
        tag: Tag,
        who: Credential,
        *,
        known: bool,
        brief: bool,
    ) -> Answer:
        """What upstream says a tag is; ``brief`` where something could be served instead."""
        accept = normalise_accept(request.values("Accept"))
        if tag_freshness.ask(request.method, known=known) is tag_freshness.Ask.GET:
            return await self._fetch_once(request, repository, tag, who)
        head = await self._head(request, repository, tag, who, brief=brief)
        if head.status in TRANSIENT and brief:
            return _head_answer(head)
        found, digest = None, head.shown.digest
        if head.status == 200 and digest is not None:
            found = await self._confirmed(repository, tag, digest, accept, who, head.shown.asked)
        if request.method == "HEAD" and head.is_enough:
            return _head_answer(head)
        verdict = tag_freshness.judge(
            tag_freshness.Head(head.status, digest), held=found is not None
        )
        if verdict is tag_freshness.Verdict.SERVE and found is not None and digest is not None:
            return self._hit(request, digest, found, cache_status.REVALIDATED, age=0.0)
        patient = head.status not in TRANSIENT  # else the HEAD has just waited
        return await self._fetch_once(request, repository, tag, who, patient=patient)

    async def _confirmed(
        self,
        repository: Repository,
        tag: Tag,
        digest: Digest,
        accept: str,
        who: Credential,
        asked: Asked,
    ) -> StoredManifest | None:
        """Take in what upstream says a tag is now; that manifest, where it is held."""
        context = self._context
        await authorization.allow(context, repository, digest, who, asked)
        await context.store_thread.run(
            self._tags.found(repository, tag, accept, digest, who, asked), None
        )
        found = await self._find(repository, digest)
        if found is not None:
            context.access.extend(repository, who, digest, found.listed)
        return found

    async def _refused(
        self,
        reply: Reply,
        repository: Repository,
        reference: Reference,
        who: Credential,
        asked: Asked,
    ) -> None:
        digest = reference if isinstance(reference, Digest) else None
        await authorization.refused(self._context, reply, repository, digest, who)
        if isinstance(reference, Tag) and reply.status in GONE:
            await self._tags.gone(repository, reference, who, asked)

    async def _find(self, repository: Repository, digest: Digest) -> StoredManifest | None:
        store = self._context.store
        return await self._context.store_thread.run(
            lambda: store.manifests.find(repository, digest), None
        )

    def _hit(
        self,
        request: Request,
        digest: Digest,
        found: StoredManifest,
        how: CacheStatus,
        *,
        age: float | None = None,
    ) -> Answer:
        self._context.events.count(Counter.MANIFEST_HITS)
        stored_ago = self._context.wall() - found.stored
        content = Content(
            digest,
            found.media_type,
            len(found.content),
            lambda _start, _stop: found.content,
            age=stored_ago if age is None else age,
        )
        return content_answer(request, content, how, ranges=False)

    # Asking upstream

    async def _head(
        self,
        request: Request,
        repository: Repository,
        reference: Reference,
        who: Credential,
        *,
        brief: bool = False,
    ) -> _Head:
        """One HEAD for all who ask the same at once.

        Of a digest, until it is answered: what it names cannot change, and the decision counts from
        when it was asked. Of a tag, only until it is sent: it may change right after.
        """
        head, _ = await self._context.ask_once(
            ("head", brief, *_same(request, repository, reference, who)),
            request,
            lambda one: self._head_alone(one, repository, reference, who, brief=brief),
            until_sent=isinstance(reference, Tag),
        )
        return head

    async def _head_alone(
        self,
        request: Request,
        repository: Repository,
        reference: Reference,
        who: Credential,
        *,
        brief: bool,
    ) -> _Head:
        context = self._context
        digest = reference if isinstance(reference, Digest) else None
        asked = context.access.asked(context.clock())
        with await context.gateway.send_patiently(request, method="HEAD", brief=brief) as reply:
            shown = Shown.by(reply, asked)
            if reply.status != 200:
                await self._refused(reply, repository, reference, who, asked)
            elif digest is not None and shown.is_named(digest):
                await authorization.allow(context, repository, digest, who, asked)
            answer = await context.relay.answer(replace(request, method="HEAD"), reply)
            return _Head(reply.status, without(answer.headers, FOR_ONE_CLIENT), shown)

    async def _fetch_once(
        self,
        request: Request,
        repository: Repository,
        reference: Reference,
        who: Credential,
        *,
        patient: bool = True,
    ) -> Answer:
        """One GET for all who ask the same at once; a body too large to share, each their own.

        Of a tag as with :meth:`_head`: only for who came before it was sent.
        """
        answer, mine = await self._context.ask_once(
            ("get", request.method, *_same(request, repository, reference, who)),
            request,
            lambda one: self._fetch(one, repository, reference, who, patient=patient),
            until_sent=isinstance(reference, Tag),
        )
        if mine:
            return answer
        if not isinstance(answer.content, bytes):
            return await self._fetch(request, repository, reference, who)
        kept = tuple(
            p for p in without(answer.headers, FOR_ONE_CLIENT) if p[0] != cache_status.FIELD
        )
        return replace(answer, headers=(*kept, cache_status.COLLAPSED))

    async def _fetch(
        self,
        request: Request,
        repository: Repository,
        reference: Reference,
        who: Credential,
        *,
        patient: bool = True,
        attempts: int = _ATTEMPTS,
    ) -> Answer:
        context = self._context
        digest = reference if isinstance(reference, Digest) else None
        asked = context.access.asked(context.clock())
        send = context.gateway.send_patiently if patient else context.gateway.send
        reply = await send(request, method="GET", downgrade=digest is not None)
        if reply.status != 200:
            await self._refused(reply, repository, reference, who, asked)
            return await context.relay.answer(request, reply)
        # A body that ends where the connection does may be cut; only a digest would show it.
        by_tag_only = digest is None and said_digest(reply.headers) is None
        media_type = reply.value("Content-Type") or ""
        if not is_cacheable(media_type) or reply.value("Content-Encoding"):
            return await self._relay_unverified(request, reply)
        try:
            content = await context.threads.call(lambda: reply.read_all(MAX_SIZE + 1), by=request)
        except UpstreamError as error:  # cut: no client asks again
            reply.close()
            if attempts <= 1 or not (error.passing and request.is_awaited()):
                raise
            context.events.count(Counter.UPSTREAM_RETRIES)
            return await self._fetch(
                request, repository, reference, who, patient=patient, attempts=attempts - 1
            )
        if len(content) > MAX_SIZE or (by_tag_only and not reply.is_delimited):
            return await self._relay_unverified(request, reply, content)
        reply.close()
        return await self._keep(request, repository, reference, who, reply, content, asked)

    async def _relay_unverified(
        self, request: Request, reply: Reply, head: bytes | None = None
    ) -> Answer:
        """Pass on a registry's own answer that its client has to make sense of."""
        if is_page(reply.headers) or is_elsewhere(request, reply):
            reply.close()
            what = "a web page" if is_page(reply.headers) else "what cannot be verified"
            raise _NoManifestError(f"{reply.target.origin} sent {what} instead of a manifest")
        return await self._context.relay.answer(request, reply, head=head)

    async def _keep(
        self,
        request: Request,
        repository: Repository,
        reference: Reference,
        who: Credential,
        reply: Reply,
        content: bytes,
        asked: Asked,
    ) -> Answer:
        """Verify, store and answer a manifest that upstream sent."""
        context, store = self._context, self._context.store
        claimed = reference if isinstance(reference, Digest) else said_digest(reply.headers)
        digest = Digest.of(content, claimed.algorithm if claimed else "sha256")
        if claimed is not None and digest != claimed:
            context.events.log(
                Event.DIGEST_MISMATCHED, digest=claimed, repository=repository, reason="manifest"
            )
            context.access.deny(repository, who)
            message = f"upstream sent a manifest that is not {claimed}"
            return error_answer(502, "DIGEST_INVALID", message)
        media_type = reply.value("Content-Type") or ""
        access, accept = context.access, normalise_accept(request.values("Accept"))
        tag = reference if isinstance(reference, Tag) else None
        told = self._tags.found(repository, tag, accept, digest, who, asked) if tag else None

        def keep() -> bool:
            if access.is_deleted(repository, digest, asked):
                return False
            label = authorization.given_to(context, repository, digest, who, asked)
            kept = store.manifests.put(repository, digest, content, media_type, given_to=label)
            if told is not None:
                told()
            return kept

        kept = await context.store_thread.run(keep, otherwise=False)
        access.allow(repository, who, (digest,), asked)
        access.extend(repository, who, digest, lambda: listed_digests(content))
        context.events.count(Counter.MANIFEST_MISSES)
        whole = Content(digest, media_type, len(content), lambda _start, _stop: content)
        how = cache_status.STORED if kept else cache_status.UNSTORED
        answer = content_answer(request, whole, how, ranges=False)
        return answer.adding(*only(reply.headers, OF_A_MANIFEST))


def _head_answer(head: _Head) -> Answer:
    if head.status == 200 and is_page(head.headers):
        raise _NoManifestError("it sent a web page instead of a manifest")
    return Answer(head.status, head.headers)


def _same(
    request: Request, repository: Repository, reference: Reference, who: Credential
) -> tuple[object, ...]:
    """What makes two requests one question."""
    accept = normalise_accept(request.values("Accept"))
    condition = request.value("If-None-Match")
    return (repository, str(reference), accept, who.fingerprint, request.query, condition)

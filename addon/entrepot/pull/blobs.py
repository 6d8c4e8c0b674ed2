"""Blobs: answered from the store, from a running fetch, or by starting one.

For each request, in this order: a hit that a remembered decision covers; upstream's decision
where the bytes are here or on their way; else one fetch as this client, which is upstream's
decision too. Whoever asks for the same blob of the same registry meanwhile follows that fetch,
each with a decision of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from entrepot.auth.credentials import Credential
from entrepot.events.counters import Counter
from entrepot.http_client.errors import UpstreamError
from entrepot.protocol import cache_status
from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.messages import Answer, Body, BodyError, Request, error_answer
from entrepot.protocol.statuses import TRANSIENT
from entrepot.pull import authorization
from entrepot.pull.authorization import Shown
from entrepot.pull.fetches import Claim, Fetches, Key, Led
from entrepot.pull.integrity import Checks
from entrepot.pull.stale import Outage
from entrepot.storage.blobs import StoredBlob
from entrepot.transfer.bodies import ContinuedBody, FileBody
from entrepot.transfer.download import Download
from entrepot.transfer.growing_file import State
from entrepot.transfer.range_answers import Content, content_answer, wants_part
from entrepot.upstream.context import Context
from entrepot.upstream.redirected_answers import is_elsewhere, is_page


class _Wanted(NamedTuple):
    """A blob that somebody asks for."""

    request: Request
    repository: Repository
    digest: Digest
    who: Credential

    @property
    def key(self) -> Key:
        return (self.repository.origin, self.digest)


class Blobs:
    """Answers GET and HEAD of blobs."""

    def __init__(self, context: Context, fetches: Fetches, outage: Outage) -> None:
        self._context = context
        self._outage = outage
        self._fetches = fetches
        self._checks = Checks(context)

    async def answer(  # noqa: C901, PLR0912 one list of cases, in their order
        self, request: Request, repository: Repository, digest: Digest
    ) -> Answer:
        """Answer a request for a blob. Raises ``UpstreamError``."""
        context, fetches = self._context, self._fetches
        wanted = _Wanted(request, repository, digest, context.access.credentials.of(request))
        shown: Shown | None = None
        checked: StoredBlob | None = None
        damaged = False
        while True:
            ended = fetches.ended
            found, checked = checked, None
            if found is None and not damaged:
                found = await self._find(wanted)
            if found is None and request.method == "HEAD":
                return await self._head(wanted)
            if found is None and not fetches.has(wanted.key):
                if fetches.ended != ended:
                    damaged = False
                    continue  # it may have been committed since it was looked for
                return await self._miss(wanted)
            if (
                found is None
                and self._allowed(wanted)
                and await fetches.opened(wanted.key, request)
            ):
                continue  # who leads it will have said by now that this repository has it
            if shown is None and not self._decided(wanted, found):
                word = await self._ask(wanted, found)
                if word is None and found is not None:
                    if not _is_doubtful(wanted, found):
                        return self._hit(wanted, found, cache_status.UNCONFIRMED)
                    checked = await self._checks.checked(found, digest)
                    damaged = checked is None
                    continue
                _drop(found)
                if isinstance(word, Answer):
                    return word
                shown = word
            elif found is not None and not _is_doubtful(wanted, found, shown):
                return await self._found(wanted, found, shown)
            elif found is not None:
                checked = await self._checks.checked(found, digest)
                damaged = checked is None
                if shown is not None and not self._still_counts(wanted, shown):
                    shown = None
            elif followed := await self._running(wanted, shown):
                return followed
            elif shown is not None and not self._still_counts(wanted, shown):
                shown = None

    async def _find(self, wanted: _Wanted) -> StoredBlob | None:
        store = self._context.store
        return await self._context.store_thread.run(
            lambda: store.blobs.find(wanted.repository, wanted.digest), None
        )

    async def _ask(self, wanted: _Wanted, found: StoredBlob | None) -> Shown | Answer | None:
        """What upstream shows of a blob, or its refusal.

        None where it does not say, and the client may have what was found none the less. Raises
        ``UpstreamError``.
        """
        request, repository, digest, who = wanted
        spare = found is not None and found.linked
        spare = spare and await self._outage.covers(request, repository, digest, who)
        if spare and not self._outage.may_ask(request, by_digest=True):
            return None
        try:
            word = await authorization.ask_for_blob(
                self._context, request, repository, digest, who, brief=spare
            )
        except UpstreamError:
            if spare:
                return None
            _drop(found)
            raise
        if spare and isinstance(word, Answer) and word.status in TRANSIENT:
            word.close()
            return None
        return word

    def _decided(self, wanted: _Wanted, found: StoredBlob | None) -> bool:
        """Whether ``who`` is known to be allowed a blob that ``repository`` is known to have."""
        download = self._fetches.running.get(wanted.key)
        here = (found is not None and found.linked) or (
            download is not None and wanted.repository in download.repositories
        )
        return here and (
            self._allowed(wanted) or self._fetches.admits(wanted.key, wanted.repository, wanted.who)
        )

    def _allowed(self, wanted: _Wanted) -> bool:
        """Whether a remembered decision covers it, should the repository have it."""
        access, now = self._context.access, self._context.clock()
        return access.is_allowed(wanted.repository, wanted.who, wanted.digest, now)

    def _still_counts(self, wanted: _Wanted, shown: Shown) -> bool:
        access, now = self._context.access, self._context.clock()
        return access.still_counts(wanted.repository, wanted.who, wanted.digest, shown.asked, now)

    async def _found(self, wanted: _Wanted, found: StoredBlob, shown: Shown | None) -> Answer:
        """Serve a stored blob, unless what upstream showed just now is something else."""
        request, repository, digest, who = wanted
        context = self._context
        if shown is None:
            return self._hit(wanted, found)
        if shown.can_be(digest, found.size):
            await authorization.allow(context, repository, digest, who, shown.asked)
            return self._hit(wanted, found)
        _drop(found)
        context.access.deny(repository, who)
        if request.method == "HEAD":
            return await self._head(wanted)
        return await self._fetches.pass_on(request, repository, digest, who)

    async def _running(self, wanted: _Wanted, shown: Shown | None) -> Answer | None:
        """Follow a running fetch; None, after a while, where it is none to follow."""
        fetches, key = self._fetches, wanted.key
        download = fetches.running.get(key)
        if download is None:
            await fetches.opened(key, wanted.request)
        elif not _may_follow(download, shown):
            await download.retired.wait()
        else:
            self._context.events.count(Counter.BLOB_COLLAPSED)
            if shown is not None:
                fetches.claim(key, Claim(wanted.repository, wanted.who, shown.asked))
            led = fetches.join(key, wanted.repository)
            return await self._follow(wanted.request, led, cache_status.COLLAPSED)
        return None

    def _hit(
        self, wanted: _Wanted, found: StoredBlob, how: CacheStatus = cache_status.HIT
    ) -> Answer:
        request, digest = wanted.request, wanted.digest
        self._context.events.count(Counter.BLOB_HITS)
        content = Content(
            digest,
            found.media_type,
            found.size,
            lambda start, stop: self._checks.body(
                found, digest, start, stop, self._elsewhere(request, start, stop)
            ),
            age=self._context.wall() - found.stored,
        )
        answer = content_answer(request, content, how, ranges=True)
        if isinstance(answer.content, bytes):
            _drop(found)
        return answer

    async def _miss(self, wanted: _Wanted) -> Answer:
        request, repository, digest, who = wanted
        # A task of its own, since the client's leaving must not end it.
        led = await asyncio.shield(self._fetches.lead(request, repository, digest, who))
        if isinstance(led, Answer):
            return led
        return await self._follow(request, led, cache_status.STORED)

    async def _head(self, wanted: _Wanted) -> Answer:
        """Upstream's own answer: nothing is here that could be one."""
        request, repository, digest, who = wanted
        context = self._context
        asked = context.access.asked(context.clock())
        reply = await context.gateway.send_patiently(request)
        if reply.status != 200:  # as public.ecr.aws answers every HEAD of a blob
            await authorization.refused(context, reply, repository, digest, who, for_all=False)
        elif is_elsewhere(request, reply) and is_page(reply.headers):
            reply.close()
            return error_answer(502, "UNAVAILABLE", "upstream sends to a web page, not to the blob")
        elif Shown.by(reply, asked).is_named(digest):
            await authorization.allow(context, repository, digest, who, asked)
        return await context.relay.answer(request, reply)

    async def _follow(self, request: Request, led: Led, how: CacheStatus) -> Answer:
        """Stream from the growing file."""
        download, opened = led.download, led.opened
        if _needs_the_end(request, download.file.size):
            try:
                await download.file.settled()
            except BodyError as error:
                opened.close()
                return error_answer(502, "UNAVAILABLE", str(error))
        content = Content(
            download.digest,
            download.media_type,
            download.file.size,
            lambda start, stop: ContinuedBody(
                opened.part(start, stop),
                self._elsewhere(request, start, stop),
                download.digest if stop in (None, download.file.size) else None,
            ),
        )
        answer = content_answer(request, content, how, ranges=True)
        if isinstance(answer.content, bytes):
            opened.close()
        return answer

    def _elsewhere(
        self, request: Request, start: int, stop: int | None
    ) -> Callable[[int], Awaitable[Body]]:
        """How a reader goes on by itself where the disk could not take the rest."""

        async def resume(given: int) -> Body:
            last = "" if stop is None else str(stop - 1)
            part = (("Range", f"bytes={start + given}-{last}"),)
            reply = await self._context.gateway.send(request, extra=part)
            if reply.status != 206:
                reply.close()
                raise BodyError(f"upstream answered {reply.status} to a resumed fetch")
            return self._context.relay.body(request, reply)

        return resume


def _is_doubtful(wanted: _Wanted, found: StoredBlob, shown: Shown | None = None) -> bool:
    """Whether bytes are to be served that must be verified before that.

    Not where upstream showed something else: who may not have them must not wait for it.
    """
    served = wanted.request.method == "GET"
    may = shown is None or shown.can_be(wanted.digest, found.size)
    return served and may and not found.sound


def _may_follow(download: Download, shown: Shown | None) -> bool:
    """Whether a running fetch can be what upstream showed this client (None: is known to allow)."""
    if download.file.state is State.FAILED:
        return False
    return shown is None or shown.can_be(download.digest, download.file.size)


def _needs_the_end(request: Request, size: int | None) -> bool:
    """Whether even the head of an answer must wait until a download is verified.

    An empty body has no last byte to hold back, nor has a 304; a part needs the size.
    """
    conditional = request.value("If-None-Match") is not None
    return conditional or size == 0 or (size is None and wants_part(request))


def _drop(found: StoredBlob | None) -> None:
    if found is not None:
        FileBody(found.file, 0, 0).close()

"""Blobs: answered from the store, from a running fetch, or by starting one.

For each request, in this order: a hit that a remembered decision covers; upstream's decision
where the bytes are here or on their way; else one fetch as this client, which is upstream's
decision too. Whoever asks for the same blob of the same registry meanwhile follows that fetch,
each with a decision of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable

from entrepot import permission
from entrepot.access import Credential
from entrepot.body import ContinuedBody, FileBody, ReplyBody
from entrepot.content import Content, content_answer, wants_part
from entrepot.driver import Driver
from entrepot.fetches import Fetches, Led
from entrepot.growing import State
from entrepot.message import Answer, Body, BodyError, Request, error_answer
from entrepot.reference import Digest, Repository
from entrepot.store import StoredBlob


class Blobs:
    """Answers GET and HEAD of blobs."""

    def __init__(self, driver: Driver, fetches: Fetches) -> None:
        self._driver = driver
        self._fetches = fetches

    async def answer(self, request: Request, repository: Repository, digest: Digest) -> Answer:
        """Answer a request for a blob. Raises ``UpstreamError``."""
        driver, fetches = self._driver, self._fetches
        who = driver.access.credential(request)
        key = (repository.origin, digest)
        asked = False
        while True:
            ended = fetches.ended
            found = await driver.stored(lambda: driver.store.find_blob(repository, digest), None)
            if found is None and not fetches.has(key):
                if fetches.ended != ended:
                    continue  # it may have been committed since it was looked for
                return await self._miss(request, repository, digest, who)
            if not asked and not self._decided(repository, digest, who, found):
                _drop(found)
                refusal = await permission.ask(driver, request, repository, digest, who)
                if refusal is not None:
                    return refusal
                asked = True
                continue
            if found is not None:
                return self._hit(request, digest, found)
            download = fetches.running.get(key)
            if download is not None and download.state is State.FAILED:
                await download.retired.wait()
                continue
            if download is not None:
                driver.events.count("blob_collapsed")
                download.repositories.add(repository)
                return await self._follow(
                    request, Led(download, download.body(0, None)), "collapsed"
                )
            await fetches.opened(key)

    def _decided(
        self, repository: Repository, digest: Digest, who: Credential, found: StoredBlob | None
    ) -> bool:
        """Whether ``who`` is known to be allowed a blob that ``repository`` is known to have."""
        download = self._fetches.running.get((repository.origin, digest))
        here = (found is not None and found.linked) or (
            download is not None and repository in download.repositories
        )
        access, now = self._driver.access, self._driver.clock()
        return here and access.is_allowed(repository, who, digest, now)

    def _hit(self, request: Request, digest: Digest, found: StoredBlob) -> Answer:
        self._driver.events.count("blob_hits")
        content = Content(
            digest,
            found.media_type,
            found.size,
            lambda start, stop: FileBody(found.file, start, stop),
            age=self._driver.clock() - found.stored,
        )
        answer = content_answer(request, content, "hit", ranges=True)
        if isinstance(answer.content, bytes):
            _drop(found)
        return answer

    async def _miss(
        self, request: Request, repository: Repository, digest: Digest, who: Credential
    ) -> Answer:
        if request.method == "HEAD":
            return await self._head(request, repository, digest, who)
        # A task of its own, since the client's leaving must not end it.
        led = await asyncio.shield(self._fetches.lead(request, repository, digest, who))
        return led if isinstance(led, Answer) else await self._follow(request, led, "stored")

    async def _head(
        self, request: Request, repository: Repository, digest: Digest, who: Credential
    ) -> Answer:
        reply = await self._driver.send(request, downgrade=True)
        if reply.status == 200:
            await permission.allow(self._driver, repository, digest, who)
        else:
            await permission.refused(self._driver, reply, repository, digest, who)
        return await self._driver.relay(request, reply)

    async def _follow(self, request: Request, led: Led, how: str) -> Answer:
        """Stream from the growing file."""
        download, opened = led.download, led.opened
        if _needs_the_end(request, download.size):
            try:
                await download.settled()
            except BodyError as error:
                opened.close()
                return error_answer(502, "UNAVAILABLE", str(error))
        content = Content(
            download.digest,
            download.media_type,
            download.size,
            lambda start, stop: ContinuedBody(
                opened.part(start, stop), self._elsewhere(request, start, stop)
            ),
        )
        answer = content_answer(request, content, "fwd=miss", how, ranges=True)
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
            reply = await self._driver.send(request, extra=part, downgrade=True)
            if reply.status != 206:
                reply.close()
                raise BodyError(f"upstream answered {reply.status} to a resumed fetch")
            return ReplyBody(reply, self._driver.call)

        return resume


def _needs_the_end(request: Request, size: int | None) -> bool:
    """Whether even the head of an answer must wait until a download is verified.

    An empty body has no last byte to hold back; a part, and HEAD, need the size.
    """
    unknown = size is None and (wants_part(request) or request.method == "HEAD")
    return unknown or size == 0


def _drop(found: StoredBlob | None) -> None:
    if found is not None:
        FileBody(found.file, 0, 0).close()

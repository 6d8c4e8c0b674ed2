"""Answers made of a blob's bytes: of a stored file, or of one that is still growing.

Where the disk gives up in the middle of a transfer, the reader goes on with upstream, by Range.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.protocol import cache_status
from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.headers import ByteRange
from entrepot.protocol.messages import Answer, Body, BodyError, Request, upstream_error
from entrepot.pull.pull import Pull
from entrepot.storage.blobs import StoredBlob
from entrepot.transfer.bodies import ContinuedBody, FileBody
from entrepot.transfer.download import Download
from entrepot.transfer.held_back import HeldBackBody
from entrepot.transfer.range_answers import Content, content_answer, wants_part
from entrepot.upstream.context import Context
from entrepot.upstream.gateway import AskOptions


class BlobAnswers:
    """Makes answers that read a blob from the disk."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def hit(self, pull: Pull, found: StoredBlob, how: CacheStatus = cache_status.HIT) -> Answer:
        """A stored blob, or the part of it that is asked for."""
        self._context.events.count(Counter.BLOB_HITS)
        content = Content(
            pull.digest,
            found.media_type,
            found.size,
            lambda start, stop: self._stored(pull, found, start, stop),
            age=self._context.wall() - found.stored,
        )
        answer = content_answer(pull.request, content, how, ranges=True)
        if isinstance(answer.content, bytes):
            drop(found)
        elif found.verdict is not None and (answer.status == 200 or not in_parts(pull.request)):
            return replace(answer, content=HeldBackBody(answer.content, found.verdict))
        return answer

    async def follow(
        self, request: Request, download: Download, opened: FileBody, how: CacheStatus
    ) -> Answer:
        """A blob that is being fetched, read as it comes; ``opened`` is its file, held open."""
        if _needs_the_end(request, download.file.size):
            try:
                await download.file.settled()
            except BodyError as error:
                opened.close()
                return upstream_error(502, "UNAVAILABLE", request.origin, str(error))
        content = Content(
            download.digest,
            download.media_type,
            download.file.size,
            lambda start, stop: ContinuedBody(
                opened.part(start, stop),
                self._from_upstream(request, start, stop),
                download.digest if stop in (None, download.file.size) else None,
            ),
        )
        answer = content_answer(request, content, how, ranges=True)
        if isinstance(answer.content, bytes):
            opened.close()
        return answer

    def _stored(self, pull: Pull, found: StoredBlob, start: int, stop: int | None) -> Body:
        context, from_upstream = self._context, self._from_upstream(pull.request, start, stop)

        async def go_on(given: int) -> Body:
            context.events.log(Event.BLOB_LOST, digest=pull.digest, offset=start + given)
            await context.store_thread.run(
                lambda: context.store.blobs.mark_suspect(pull.digest), None
            )
            return await from_upstream(given)

        return ContinuedBody(FileBody(found.file, start, stop), go_on)

    def _from_upstream(
        self, request: Request, start: int, stop: int | None
    ) -> Callable[[int], Awaitable[Body]]:
        """How a reader goes on by itself, after so many bytes, where the disk has not the rest."""

        async def go_on(given: int) -> Body:
            last = "" if stop is None else str(stop - 1)
            part = (("Range", f"bytes={start + given}-{last}"),)
            reply = await self._context.gateway.send(request, AskOptions(extra=part))
            if reply.status != 206:
                reply.close()
                raise BodyError(f"upstream answered {reply.status} to a resumed fetch")
            return self._context.relay.body(request, reply)

        return go_on


def _needs_the_end(request: Request, size: int | None) -> bool:
    """Whether even the head of an answer must wait until a download is verified.

    An empty body has no last byte to hold back, nor has a 304; a part needs the size.
    """
    conditional = request.value("If-None-Match") is not None
    return conditional or size == 0 or (size is None and wants_part(request))


def in_parts(request: Request) -> bool:
    """Whether a request is for parts alone, none of them the rest: `bytes=0-9`, `bytes=-9,20-29`.

    Who asks so puts a blob together by itself, and verifies it then.
    """
    value = request.value("Range") or ""
    wanted = ByteRange.parse(value)
    if wanted is None:
        return "," in value
    return wanted.first is None or wanted.last is not None


def drop(found: StoredBlob | None) -> None:
    """Close a stored blob that is not going to be served."""
    if found is not None:
        FileBody(found.file, 0, 0).close()

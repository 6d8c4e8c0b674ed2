"""Answers made of a blob's bytes: of a stored file, or of one that is still growing.

Where the disk gives up in the middle of a transfer, the reader goes on with upstream, by Range.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.protocol import cache_status
from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.messages import Answer, Body, BodyError, Request, upstream_error
from entrepot.protocol.ranges.byte_ranges import ByteRange, RangeSet
from entrepot.pull.blobs.blob_source import BlobSource
from entrepot.pull.blobs.held_back import HeldBackBody
from entrepot.pull.pull import Pull
from entrepot.storage.blobs import StoredBlob
from entrepot.transfer.bodies import ContinuedBody, FileBody
from entrepot.transfer.download import Download
from entrepot.transfer.growing_file import State
from entrepot.transfer.range_answers import Content, Part, content_answer, wanted_ranges
from entrepot.upstream.context import Context
from entrepot.upstream.gateway import AskOptions


class BlobAnswers:
    """Makes answers that read a blob from the disk."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def hit(self, pull: Pull, found: StoredBlob, how: CacheStatus = cache_status.HIT) -> Answer:
        """A stored blob, or the part of it that is asked for."""
        self._context.events.count(Counter.BLOB_HITS)
        held = FileBody(found.file, 0, found.size)
        content = Content(
            pull.digest,
            found.media_type,
            found.size,
            lambda part: self._stored(pull, found, held, part),
            held.close,
            age=self._context.wall() - found.stored,
        )
        return content_answer(pull.request, content, how)

    async def follow(
        self, request: Request, download: Download, opened: FileBody, how: CacheStatus
    ) -> Answer:
        """A blob that is being fetched, read as it comes; ``opened`` is its file, held open."""
        if _needs_the_end(request, download):
            try:
                await download.file.settled()
            except BodyError as error:
                opened.close()
                return upstream_error(502, "UNAVAILABLE", request.origin, str(error))
        content = Content(
            download.digest,
            download.media_type,
            download.file.size,
            lambda part: self._growing(request, download, opened, part),
            opened.close,
        )
        if _is_ahead(request, download):
            self._context.events.count(Counter.BLOB_RANGES)
            source, how = BlobSource(self._context, request), cache_status.RANGE
            content = replace(content, want=lambda spans: download.want(spans, source))
        return content_answer(request, content, how)

    def _growing(
        self, request: Request, download: Download, opened: FileBody, part: Part
    ) -> ContinuedBody:
        reaches_end = part.stop in (None, download.file.size)
        early = part.bounded and download.gives_parts
        return ContinuedBody(
            opened.part(part.start, part.stop, early=early),
            self._from_upstream(request, part),
            download.digest if reaches_end and not early else None,
        )

    def _stored(self, pull: Pull, found: StoredBlob, held: FileBody, part: Part) -> Body:
        context, from_upstream = self._context, self._from_upstream(pull.request, part)

        async def go_on(given: int) -> Body:
            context.events.log(Event.BLOB_LOST, digest=pull.digest, offset=part.start + given)
            await context.store_thread.run(
                lambda: context.store.blobs.mark_suspect(pull.digest), None
            )
            return await from_upstream(given)

        body = ContinuedBody(held.part(part.start, part.stop), go_on)
        if found.verdict is None or part.bounded:
            return body
        return HeldBackBody(body, found.verdict)

    def _from_upstream(self, request: Request, part: Part) -> Callable[[int], Awaitable[Body]]:
        """How a reader goes on by itself, after so many bytes, where the disk has not the rest."""

        async def go_on(given: int) -> Body:
            last = None if part.stop is None else part.stop - 1
            rest = ("Range", str(RangeSet((ByteRange(part.start + given, last),))))
            reply = await self._context.gateway.send(request, AskOptions(extra=(rest,)))
            if reply.status != 206:
                reply.close()
                raise BodyError(f"upstream answered {reply.status} to a resumed fetch")
            return self._context.relay.body(request, reply)

        return go_on


def _is_ahead(request: Request, download: Download) -> bool:
    """Whether a client is given parts of a running download as they come.

    Not who resumes a transfer, which must not end before the whole is verified; nor where upstream
    answers with the whole, which may be a login page.
    """
    if not download.gives_parts:
        return False
    wanted, size = wanted_ranges(request, download.digest), download.file.size
    if wanted is None or size is None or not wanted.is_bounded:
        return False
    return download.file.state is State.RUNNING and bool(wanted.resolve(size))


def _needs_the_end(request: Request, download: Download) -> bool:
    """Whether even the head of an answer must wait until a download is verified.

    An empty body has no last byte to hold back, nor has a 304; a part needs the size.
    """
    size = download.file.size
    if request.value("If-None-Match") is not None or size == 0:
        return True
    return size is None and wanted_ranges(request, download.digest) is not None


def drop(found: StoredBlob | None) -> None:
    """Close a stored blob that is not going to be served."""
    if found is not None:
        FileBody(found.file, 0, 0).close()

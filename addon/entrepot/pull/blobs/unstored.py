"""Blobs that are passed on without storing them (``Cache-Status: ...; detail=unstored``)."""

from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import Answer, Fields, upstream_error
from entrepot.protocol.ranges.byte_ranges import RangeSet
from entrepot.pull.authorization import Authorization
from entrepot.pull.pull import Pull
from entrepot.transfer.range_answers import wanted_ranges
from entrepot.upstream.context import Context
from entrepot.upstream.gateway import AskOptions

_LONGEST = 4096
"""Bytes of a field; nginx takes 8 KiB for a line."""


class Unstored:
    """Serves upstream's own bytes, verified on their way where they are the whole."""

    def __init__(self, context: Context, authorization: Authorization) -> None:
        self._context = context
        self._authorization = authorization

    async def answer(self, pull: Pull) -> Answer:
        """Ask upstream for this client alone. Raises ``UpstreamError``."""
        reply = await self._context.gateway.send(pull.request, AskOptions(downgrade=True))
        if reply.status not in (200, 206):
            await self._authorization.revoke(pull, reply)
            return await self._context.relay.answer(pull.request, reply)
        return await self.stream(pull, reply)

    async def stream(self, pull: Pull, reply: Reply) -> Answer:
        """Pass on upstream's 200 or 206; a client gets a whole that is not the blob cut short."""
        context, request, digest = self._context, pull.request, pull.digest
        context.events.count(Counter.BLOB_UNSTORED)
        parts = _passed_on(wanted_ranges(request, digest))
        if parts or reply.status != 200:
            reply.close()
            # A part cannot be verified.
            reply = await context.gateway.send(request, AskOptions(extra=parts))
            if reply.status != 200:
                return await context.relay.answer(request, reply)
        if reply.length == 0 and digest != Digest.of(b"", digest.algorithm):
            reply.close()
            context.events.log(
                Event.DIGEST_MISMATCHED, digest=digest, registry=request.origin, reason="empty"
            )
            reason = f"it sent nothing for {digest}"
            return upstream_error(502, "DIGEST_INVALID", request.origin, reason)
        headers: Fields = (
            ("Content-Type", reply.value("Content-Type") or "application/octet-stream"),
            ("Docker-Content-Digest", str(digest)),
            cache_status.UNSTORED,
        )
        if reply.length is not None:
            headers = (("Content-Length", str(reply.length)), *headers)
        return Answer(200, headers, context.relay.body(request, reply, digest=digest))


def _passed_on(wanted: RangeSet | None) -> Fields:
    """``Range`` as upstream gets it: what was understood, unless it is longer than servers bear."""
    if wanted is None or len(str(wanted)) > _LONGEST:
        return ()
    return (("Range", str(wanted)),)

"""Upstream's own answers, relayed to the client as they came."""

import time
from collections.abc import Callable
from functools import partial

from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.header_filters import ABOUT_CONTENT, end_to_end, only, without
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import Answer, Body, Request
from entrepot.transfer.bodies import ReplyBody
from entrepot.transfer.digest_verification import VerifiedBody
from entrepot.upstream.redirected_answers import is_elsewhere, problem
from entrepot.upstream.worker_threads import WorkerThreads

_SMALL = 256 * 1024
_DAWDLING_SECONDS = 10.0


class Relay:
    """Turns replies of upstream into answers; what blocks runs on ``threads``."""

    def __init__(self, threads: WorkerThreads, clock: Callable[[], float] = time.monotonic) -> None:
        self._threads = threads
        self._clock = clock

    async def answer(
        self,
        request: Request,
        reply: Reply,
        *,
        head: bytes | None = None,
        how: CacheStatus | None = None,
    ) -> Answer:
        """Upstream's own answer, as it came; ``head`` is what was already read of its body.

        ``how`` where it is not a miss. Of what came from where a redirect led, little is passed on
        (``redirected_answers``).
        """
        how = how or cache_status.miss(reply.status)
        if is_elsewhere(request, reply):
            unfit = problem(request, reply)
            if unfit is not None:
                reply.close()
                return unfit.adding(how)
            reply.headers = only(reply.headers, ABOUT_CONTENT)
        if request.method == "HEAD" or reply.status in (204, 304):
            reply.close()
            return relayed(reply, b"", reply.length, how)
        if head is None and reply.length is not None and reply.length <= _SMALL:
            content = await self._threads.call(lambda: reply.read_all(_SMALL), by=request)
            reply.close()
            return relayed(reply, content, reply.length, how)
        body = self.body(request, reply, head=head or b"")
        return relayed(reply, body, reply.length, how)

    def body(
        self, request: Request, reply: Reply, *, head: bytes = b"", digest: Digest | None = None
    ) -> Body:
        """What upstream sends, read for a client as it takes it, and verified by ``digest``."""
        body = ReplyBody(reply, partial(self._threads.call, by=request), head=head)
        return body if digest is None else VerifiedBody(body, digest)

    async def beginning(self, request: Request, reply: Reply, most: int) -> tuple[bytes, bool]:
        """The first bytes of a body, ``most`` and one at most, and whether they are the whole.

        A body that dawdles is left after ten seconds. Raises ``UpstreamError``.
        """
        content, until = b"", self._clock() + _DAWDLING_SECONDS
        while len(content) <= most and self._clock() < until:
            read = partial(reply.read_ready, most + 1 - len(content))
            part = await self._threads.call(read, by=request)
            content += part
            if not part or len(content) == reply.length:
                reply.close()
                return content, True
        return content, False


def relayed(reply: Reply, content: bytes | Body, size: int | None, how: CacheStatus) -> Answer:
    """An answer of upstream's fields, and of this content and size."""
    headers = (
        *without(end_to_end(reply.headers), ("content-length",)),
        how,
    )
    if size is not None:
        headers = (*headers, ("Content-Length", str(size)))
    return Answer(reply.status, headers, content)

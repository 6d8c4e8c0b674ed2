"""HEAD of a blob that is not here: what the registry says of it, with a length and its digest.

Registries and content networks answer HEAD badly: public.ecr.aws refuses every one of a blob, a
signed address may be for GET alone, some leave out the length. A GET of the first byte tells what
they leave out, so that whoever may have the blob is told how long it is.
"""

from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import identity_fields
from entrepot.protocol.messages import API_VERSION, Answer, Fields, Request, upstream_error
from entrepot.pull.authorization import FIRST_BYTE, Authorization, Evidence
from entrepot.pull.pull import Pull
from entrepot.upstream.context import Context
from entrepot.upstream.gateway import AskOptions
from entrepot.upstream.redirected_answers import is_elsewhere, is_page

_REFUSED = frozenset({400, 401, 403, 405, 501})
"""What a HEAD is refused with where a GET may not be."""


class BlobHead:
    """Answers HEAD of blobs that are not stored."""

    def __init__(self, context: Context, authorization: Authorization) -> None:
        self._context = context
        self._authorization = authorization

    async def answer(self, pull: Pull) -> Answer:
        """Upstream's own answer, made whole where it is not. Raises ``UpstreamError``."""
        request, authorization = pull.request, self._authorization
        asked = authorization.asked_now()
        reply = await self._context.gateway.send_patiently(request)
        if reply.status != 200:
            await authorization.revoke(pull, reply, for_all=False)
        elif is_elsewhere(request, reply) and is_page(reply.headers):
            reply.close()
            reason = "it sends to a web page, not to the blob"
            return upstream_error(502, "UNAVAILABLE", request.origin, reason)
        elif Evidence.of(reply, asked).is_named(pull.digest):
            await authorization.grant(pull, asked)
        if _may_tell_more(request, reply):
            told = await self._by_get(pull)
            if told is not None:
                reply.close()
                return told
        answer = await self._context.relay.answer(request, reply)
        silent = answer.status == 200 and Evidence.of(reply, asked).digest is None
        if silent and not is_page(reply.headers):
            return answer.adding(("Docker-Content-Digest", str(pull.digest)))
        return answer

    async def _by_get(self, pull: Pull) -> Answer | None:
        """What a GET of the first byte tells; None where it tells no more.

        A refusal takes nothing away here: the client asked by HEAD.
        """
        gateway, asked = self._context.gateway, self._authorization.asked_now()
        try:
            reply = await gateway.send(pull.request, AskOptions("GET", FIRST_BYTE))
        except UpstreamError:
            return None
        gateway.let_go(reply)
        shown = Evidence.of(reply, asked)
        shows = reply.status in (200, 206) and not is_page(reply.headers)
        if not shows or shown.size is None or not shown.can_be(pull.digest, shown.size):
            return None
        if shown.is_named(pull.digest):
            await self._authorization.grant(pull, asked)
        headers: Fields = (
            ("Content-Length", str(shown.size)),
            ("Content-Type", reply.value("Content-Type") or "application/octet-stream"),
            ("Docker-Content-Digest", str(pull.digest)),
            API_VERSION,
            cache_status.miss(200),
        )
        return Answer(200, headers)


def _may_tell_more(request: Request, reply: Reply) -> bool:
    """Whether a GET may tell what an answer to HEAD does not.

    Not what a client hears that shows no login yet: that is a challenge.
    """
    if reply.status == 200:
        return reply.length is None or reply.value("Content-Encoding") is not None
    if reply.status not in _REFUSED:
        return False
    is_challenge = reply.status == 401 and not is_elsewhere(request, reply)
    return not is_challenge or request.account is not None or bool(identity_fields(request))

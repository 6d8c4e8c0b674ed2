"""Hooks of requests: what can be cached is answered by the engine, the rest streams through.

An exception in a hook would let the request go on unfiltered, so it becomes a 500 here:
promise 2 fails closed.
"""

import logging
from dataclasses import dataclass

from mitmproxy import http

from entrepot.cache import Cache
from entrepot.endpoint import Blob, Endpoint, Manifest, parse_endpoint
from entrepot.message import Request, error_answer
from entrepot.mitm import flows
from entrepot.mitm.running import Running, client_of
from entrepot.mitm.serving import SELF

NOTE = "entrepot.note"
ANSWERED = "entrepot.answered"
"""Keys of ``flow.metadata``: the :class:`Note`, and that the answer is ours."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """What was found out about a registry's flow when its request came."""

    request: Request
    endpoint: Endpoint
    token: bool

    @property
    def cacheable(self) -> bool:
        """Whether the engine answers it."""
        return Cache.is_cacheable(self.request.method, self.endpoint)


class Requests:
    """Answers requests, or lets them through."""

    def __init__(self, running: Running) -> None:
        self._running = running

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Look at a request before its body comes; bodies are never held."""
        if flow.request.host == SELF or self._running.engine is None:
            return
        note = await self._note(flow)
        if note is None:
            flow.request.stream = True
            return
        problem = flows.authority_mismatch(flow, note.request.origin)
        if problem is not None:
            self._misdirected(flow, problem)
            return
        flow.metadata[NOTE] = note
        if note.token:
            flow.request.headers["accept-encoding"] = "identity"
        flow.request.stream = not note.cacheable or flows.has_content(flow)

    async def _note(self, flow: http.HTTPFlow) -> Note | None:
        """Describe a request to a registry; None for one to anything else."""
        origin = flows.origin_of(flow)
        if origin is None or flow.error is not None:
            return None
        for name in ("proxy-authorization", "proxy-connection"):
            flow.request.headers.pop(name, None)
        if origin.scheme == "http" and not await self._running.parts().hosts.is_registry(origin):
            return None
        request = flows.request_of(flow, origin)
        endpoint = parse_endpoint(request.method, request.path, request.query)
        token = self._running.parts().realms.has(origin, request.path)
        return Note(request, endpoint, token)

    def _misdirected(self, flow: http.HTTPFlow, problem: str) -> None:
        self._running.parts().events.warn(
            "misdirected", client=client_of(flow.client_conn), reason=problem
        )
        if flows.has_content(flow):
            flow.kill()  # an answer would wait for the body
            return
        message = f"{problem} is not the host that the connection was made to"
        flows.put_answer(flow, error_answer(421, "MISDIRECTED", message))
        flow.metadata[ANSWERED] = True

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer what can be cached, and what is addressed to the proxy itself."""
        if flow.response is not None or flow.error is not None:
            return
        self._running.begin()
        try:
            await self._answer(flow)
        except Exception:
            logger.exception("the cache failed on a request")
            flows.put_answer(flow, error_answer(500, "UNKNOWN", "the cache failed"))
            flow.metadata[ANSWERED] = True
        finally:
            self._running.end()

    async def _answer(self, flow: http.HTTPFlow) -> None:
        note: Note | None = flow.metadata.get(NOTE)
        if flow.request.host == SELF:
            answer = self._running.parts().pages.answer(flow.request.method, flow.request.path)
        elif note is None or not note.cacheable or flow.request.stream:
            return
        elif isinstance(note.endpoint, Blob | Manifest):
            answer = await self._running.parts().cache.handle(note.request, note.endpoint)
            if answer.status == 401:
                self._running.parts().realms.challenged(
                    note.request.origin, [answer.value("WWW-Authenticate") or ""]
                )
        if flow.request.http_version == "HTTP/1.0" and flows.needs_chunks(answer):
            answer.close()
            answer = error_answer(505, "UNSUPPORTED", "HTTP/1.1 is needed for this transfer")
        flows.put_answer(flow, answer)
        flow.metadata[ANSWERED] = True

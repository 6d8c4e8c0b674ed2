"""Hooks of what passes through: it streams, and the proxy learns from it.

A challenge names a token server; a token server's answer says who was anonymous and until when;
a registry's ``/v2/`` says that it is one; an accepted PUT or DELETE makes something untrue.
"""

from collections.abc import Callable

from mitmproxy import http

from entrepot import tokens
from entrepot.endpoint import Blob, Manifest, Ping
from entrepot.message import Request, cache_status
from entrepot.mitm.requests import ANSWERED, NOTE, Note
from entrepot.mitm.running import Running
from entrepot.reference import Origin


class Passing:
    """Watches responses that are not ours."""

    def __init__(self, running: Running) -> None:
        self._running = running

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream what passes through, and learn from it."""
        response = flow.response
        if response is None or ANSWERED in flow.metadata:
            return
        response.stream = True
        note: Note | None = flow.metadata.get(NOTE)
        if note is None:
            return
        response.headers.add(*cache_status("fwd=bypass", f"detail={note.endpoint.detail}"))
        origin = note.request.origin
        if response.status_code == 401:
            self._running.parts().realms.challenged(
                origin, response.headers.get_all("www-authenticate")
            )
        if isinstance(note.endpoint, Ping):
            await self._learn(origin, response)
        if note.token and response.status_code == 200:
            response.stream = self._watch(note.request)
        if 200 <= response.status_code < 300 and isinstance(note.endpoint, Blob | Manifest):
            await self._running.parts().cache.changed(
                note.request.method, note.request, note.endpoint
            )

    async def _learn(self, origin: Origin, response: http.Response) -> None:
        version = response.headers.get("docker-distribution-api-version", "")
        if response.status_code in (200, 401) and version.startswith("registry/2."):
            await self._running.parts().hosts.learn(origin)

    def _watch(self, request: Request) -> Callable[[bytes], bytes]:
        """Make a stream that passes a token endpoint's answer on and takes it in; never raises."""
        seen = bytearray()
        began = self._running.parts().clock()

        def watch(data: bytes) -> bytes:
            if data and len(seen) <= tokens.MAX_SIZE:
                seen.extend(data)
            elif not data and len(seen) <= tokens.MAX_SIZE:
                self._issued(request, bytes(seen), began)
            return data

        return watch

    def _issued(self, request: Request, content: bytes, began: float) -> None:
        issued = tokens.parse_issued(content)
        if issued is None:
            return
        for token in issued.tokens:
            self._running.parts().access.token_issued(
                token,
                anonymous=tokens.is_anonymous(request),
                expires=began + issued.seconds,
                now=self._running.parts().clock(),
            )

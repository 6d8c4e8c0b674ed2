"""Hooks of what passes through: it streams, and the proxy learns from it.

A challenge names a token server; an accepted PUT or DELETE makes something untrue.
"""

from mitmproxy import http

from entrepot.endpoint import Blob, Manifest
from entrepot.message import cache_status
from entrepot.mitm import flows
from entrepot.mitm.requests import ANSWERED, NOTE, Note
from entrepot.mitm.running import Running


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
        parts, request = self._running.parts(), note.request
        if response.status_code == 401:
            challenges = response.headers.get_all("www-authenticate")
            parts.logins.challenged(request.origin, challenges, flows.fields_of(flow.request))
        if 200 <= response.status_code < 300 and isinstance(note.endpoint, Blob | Manifest):
            await parts.cache.changed(request.method, request, note.endpoint)

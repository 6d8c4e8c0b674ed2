"""What passes through to a registry: it streams, and the proxy learns from the answer.

A challenge names a token server; an accepted PUT or DELETE makes what is cached untrue; and whether
a registry answers counts for its circuit breaker, as with our own requests.
"""

from mitmproxy import http

from entrepot.events.table import Event
from entrepot.http_client.errors import UpstreamError
from entrepot.mitm import translate
from entrepot.mitm.hooks.classify_request import ANSWERED, CLASSIFIED, Classified, passing
from entrepot.mitm.layers.mitmproxy_errors import FAILURE, Failure, understand
from entrepot.mitm.state import ProxyState
from entrepot.protocol import cache_status
from entrepot.protocol.routes import Blob, Manifest


class Passthrough:
    """Watches responses that are not ours, and what becomes of the requests for them."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream what passes through, and learn from it."""
        response = flow.response
        if response is None or ANSWERED in flow.metadata:
            return
        response.stream = True
        asked: Classified | None = flow.metadata.get(CLASSIFIED)
        if asked is None:
            return
        response.headers.add(*cache_status.bypass(asked.endpoint.detail))
        parts, request = self._state.parts(), asked.request
        parts.context.health.answered(request.origin)
        parts.context.gateway.outcomes.answered(
            request.origin, response.status_code, _seconds_to(response, flow.request)
        )
        if response.status_code == 401:
            challenges = response.headers.get_all("www-authenticate")
            parts.logins.challenged(request.origin, challenges, translate.fields_of(flow.request))
            parts.interception.sent(request.client, request.origin, challenges)
        if 200 <= response.status_code < 300 and isinstance(asked.endpoint, Blob | Manifest):
            await parts.cache.changed(request.method, request, asked.endpoint)

    def error(self, flow: http.HTTPFlow) -> None:
        """Say that upstream gave no answer, or no whole one; not that a client has left."""
        asked, failure = passing(flow), _failure_of(flow)
        if asked is None or failure is None:
            return
        parts, origin = self._state.parts(), asked.request.origin
        parts.events.log(
            Event.UPSTREAM_FAILED, url=f"{origin}{asked.request.path}", reason=failure.reason
        )
        if failure.by_us:
            return
        parts.context.gateway.outcomes.failed(origin, failure.reason)
        if flow.response is None:
            error = UpstreamError(
                f"{origin}: {failure.reason}",
                silent=origin,
                connected=failure.connected,
                slow=failure.slow,
            )
            parts.context.health.failed(error)


def _seconds_to(response: http.Response, request: http.Request) -> float:
    """How long an answer was waited for: from the request's end, or begin where it streams on."""
    begun = request.timestamp_end or request.timestamp_start
    return max(0.0, response.timestamp_start - begun)


def _failure_of(flow: http.HTTPFlow) -> Failure | None:
    """Why upstream failed; None where it did not."""
    failure: Failure | None = flow.metadata.get(FAILURE)
    if failure is not None or flow.error is None:
        return failure
    refused = "from server, refusing" in flow.error.msg  # mitmproxy goes another way with these
    return understand(flow.error.msg) if refused else None

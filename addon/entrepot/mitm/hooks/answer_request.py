"""Requests: content and logins are answered by the engine, the rest streams through.

When a head has come it is decided who answers (``classify_request``), and what must not go on is
refused, before there is a body. An exception in a hook would let the request go on unfiltered, so
it becomes a 500 here: promise 2 fails closed.
"""

from mitmproxy import connection, http

from entrepot.endpoints.login_requests import LARGEST_FORM
from entrepot.endpoints.page_request import PageRequest
from entrepot.events.table import Event
from entrepot.http_client.connect.ssrf_guard import DestinationError
from entrepot.http_client.errors import unavailable
from entrepot.mitm import translate
from entrepot.mitm.addressing.authority_mismatch import authority_mismatch
from entrepot.mitm.addressing.own_ports import MistakenPorts
from entrepot.mitm.hooks.classify_request import (
    ANSWERED,
    CLASSIFIED,
    AnsweredBy,
    Classified,
    classify,
)
from entrepot.mitm.hooks.proxyauth import pardon
from entrepot.mitm.hooks.ssrf_boundary import forbidden, log_refusal, why_refused
from entrepot.mitm.layers.error_pages import refuse, response_of, speaks_registry
from entrepot.mitm.layers.http_layer import SELF
from entrepot.mitm.recording.subject import begin_record
from entrepot.mitm.restart.drain import STOPPING, Drain
from entrepot.mitm.state import ProxyState, client_of
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import content_fields
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Answer, error_answer, field_values, upstream_error
from entrepot.protocol.routes import Cacheable

NOWHERE = Origin("http", SELF, 80)
"""The origin of a request that names none."""

_BODY_AT_MIRROR = error_answer(405, "UNSUPPORTED", "a mirror is for pulling").adding(
    ("Allow", "GET, HEAD"), cache_status.ERROR
)


def _page_request(flow: http.HTTPFlow, proxy_port: int | None = None) -> PageRequest:
    """A request to the proxy itself; ``proxy_port`` is the proxy's, where it came to another."""
    return PageRequest(
        flow.request.method.upper(),
        flow.request.path,
        translate.fields_of(flow.request),
        flow.request.raw_content or b"",
        client_of(flow.client_conn),
        proxy_port,
    )


class Requests:
    """Answers requests, or lets them through."""

    def __init__(self, state: ProxyState, drain: Drain) -> None:
        self._state = state
        self._drain = drain
        self._mistaken = MistakenPorts(state)

    def client_connected(self, client: connection.Client) -> None:
        """Say who is not let in at all, by mitmproxy's ``block_global`` or ``block_private``."""
        if client.error is not None and self._state.engine is not None:
            kind = "private" if "block_private" in client.error else "public"
            self._state.engine.admission.refused(client_of(client), f"its address is {kind}")

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Look at a request before its body comes; none is held but a small form for a token."""
        if self._state.engine is None or await self._turns_away(flow):
            return
        pardon(flow)
        if flow.response is not None:
            flow.metadata[ANSWERED] = True
        if flow.response is not None or translate.is_to_a_mirror(flow):
            size = translate.content_size(flow)
            if size is None or size > LARGEST_FORM:  # mitmproxy would hold or stream the body
                refuse(flow, flow.response or response_of(_BODY_AT_MIRROR, flow.request))
            return
        if flow.request.host == SELF:
            self._bound_form(flow)
            return
        asked = await classify(self._state, flow)
        if asked is None:
            flow.request.stream = True
            return
        begin_record(flow, asked.request.origin, asked.endpoint)
        problem = authority_mismatch(flow, asked.request.origin)
        if problem is not None:
            self._misdirected(flow, problem)
            return
        if (answer := self._unavailable(asked)) is not None:
            self._refuse(flow, answer)
            return
        flow.metadata[CLASSIFIED] = asked
        flow.request.stream = asked.by is AnsweredBy.UPSTREAM

    def _refusal(self, flow: http.HTTPFlow) -> Answer | None:
        """What a client gets that is not served, whatever it asks."""
        reason = self._state.parts().admission.refusal(client_of(flow.client_conn))
        if reason is not None:
            return error_answer(403, "DENIED", reason)
        if flow.request.host != SELF and self._drain.refuses(flow.client_conn):
            return error_answer(503, "UNAVAILABLE", STOPPING)
        return None

    async def _turns_away(self, flow: http.HTTPFlow) -> bool:
        """Refuse a client that is not served, or takes this port for another; whether it is."""
        refusal = self._refusal(flow)
        if refusal is not None:
            self._refuse(flow, refusal)
            return True
        mistaken = await self._mistaken.refusal(flow)
        if mistaken is not None:
            refuse(flow, response_of(mistaken.adding(cache_status.ERROR), flow.request))
        return mistaken is not None

    @staticmethod
    def _bound_form(flow: http.HTTPFlow) -> None:
        """Refuse what is larger than any form of the page: mitmproxy would hold or stream it."""
        size = translate.content_size(flow)
        if size is None or size > LARGEST_FORM:
            told = error_answer(413, "SIZE_INVALID", "that is too large for a page of the proxy")
            refuse(flow, response_of(told.adding(cache_status.ERROR), flow.request))

    def _unavailable(self, asked: Classified) -> Answer | None:
        """The 503 where upstream is not to be asked now: offline, or by its circuit breaker.

        What the engine answers asks by itself, and knows that too.
        """
        health, origin = self._state.parts().context.health, asked.request.origin
        if asked.by is AnsweredBy.UPSTREAM and health.offline:
            return upstream_error(503, "UNAVAILABLE", origin, "the proxy is offline")
        if asked.by is AnsweredBy.UPSTREAM and not health.may_ask(origin, fallback=False):
            how = cache_status.bypass(asked.endpoint.detail)
            return unavailable(health.left_alone(origin), how)
        return None

    def _misdirected(self, flow: http.HTTPFlow, problem: str) -> None:
        self._state.parts().events.log(
            Event.REQUEST_MISDIRECTED, client=client_of(flow.client_conn), reason=problem
        )
        message = f"{problem} is not the host that the connection was made to"
        self._refuse(flow, error_answer(421, "MISDIRECTED", message))

    def _refuse(self, flow: http.HTTPFlow, answer: Answer) -> None:
        translate.put_answer(flow, answer)
        flow.metadata[ANSWERED] = True
        goes_on = translate.has_content(flow) or flow.request.method == "CONNECT"
        if goes_on and flow.response is not None:
            refuse(flow, flow.response)

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer what can be cached, and what is addressed to the proxy itself."""
        if flow.response is not None or flow.error is not None:
            return
        try:
            await self._answer(flow)
        except DestinationError as error:
            log_refusal(
                self._state, flow.client_conn, flow.request.host, flow.request.port, str(error)
            )
            translate.put_answer(flow, forbidden(error))
            flow.metadata[ANSWERED] = True
        except Exception:  # noqa: BLE001 one failure must not end the others
            self._state.events().log(Event.HOOK_FAILED, task="the answer to a request")
            translate.put_answer(flow, error_answer(500, "UNKNOWN", "the cache failed"))
            flow.metadata[ANSWERED] = True

    async def _answer(self, flow: http.HTTPFlow) -> None:
        asked: Classified | None = flow.metadata.get(CLASSIFIED)
        if flow.request.host == SELF:
            answer = await self._own_page(flow)
        elif translate.is_to_a_mirror(flow):
            answer = await self._answer_at_mirror(flow)
        elif asked is None or flow.request.stream:
            return
        else:
            answer = await self._answer_registry(asked, flow.request.raw_content or b"")
            self._check_destination(flow, answer)
            if answer.status == 401:
                challenges = field_values(answer.headers, "WWW-Authenticate")
                interception = self._state.parts().interception
                interception.sent(asked.request.client, asked.request.origin, challenges)
        if flow.request.http_version == "HTTP/1.0" and translate.needs_chunks(answer):
            answer.close()
            answer = error_answer(505, "UNSUPPORTED", "HTTP/1.1 is needed for this transfer")
        translate.put_answer(flow, answer)
        flow.metadata[ANSWERED] = True

    async def _own_page(self, flow: http.HTTPFlow) -> Answer:
        parts = self._state.parts()
        if speaks_registry(flow.request):
            return self._mistaken.no_registry(flow.client_conn)
        asked = _page_request(flow)
        if parts.site.takes(asked):
            return await parts.site.answer(asked)
        return await parts.pages.answer(asked)

    def _check_destination(self, flow: http.HTTPFlow, answer: Answer) -> None:
        """Raise DestinationError where it is known by now that this client is not led there.

        The answer may be that to another client, which was.
        """
        host, port = flow.request.host, flow.request.port
        why = why_refused(self._state, flow.client_conn, host, port)
        if why is not None:
            answer.close()
            raise DestinationError(why)

    async def _answer_at_mirror(self, flow: http.HTTPFlow) -> Answer:
        parts, request = self._state.parts(), translate.request_of(flow, NOWHERE)
        if request.path != "/v2" and not request.path.startswith("/v2/"):
            asked = _page_request(flow, self._state.proxy_port)
            return await parts.pages.answer(asked)
        mirror = self._state.mirror_modes[flow.client_conn.proxy_mode.full_spec]
        begin_record(flow, *parts.mirrors.subject(request, mirror))
        return await parts.mirrors.answer(request, mirror)

    async def _answer_registry(self, asked: Classified, content: bytes) -> Answer:
        parts, request = self._state.parts(), asked.request
        if asked.by is not AnsweredBy.CACHE or not isinstance(asked.endpoint, Cacheable):
            return await parts.logins.handle(request, content)
        answer = await parts.cache.handle(request, asked.endpoint)
        if answer.status == 401:
            challenges = field_values(answer.headers, "WWW-Authenticate")
            parts.logins.challenged(request.origin, challenges, content_fields(request))
        return answer

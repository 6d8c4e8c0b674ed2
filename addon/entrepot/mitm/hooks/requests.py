"""Hooks of requests: content and logins are answered by the engine, the rest streams through.

An exception in a hook would let the request go on unfiltered, so it becomes a 500 here:
promise 2 fails closed.
"""

from dataclasses import dataclass
from enum import Enum, auto

from mitmproxy import http

from entrepot.endpoints.ping_and_token import LARGEST_FORM
from entrepot.events.table import Event
from entrepot.http_client.connect.ssrf_guard import DestinationError
from entrepot.http_client.response import unavailable
from entrepot.mitm.hooks.proxyauth import pardon
from entrepot.mitm.hooks.ssrf_boundary import foreseen, refused, warn
from entrepot.mitm.layers import translate
from entrepot.mitm.layers.body_layer import SELF
from entrepot.mitm.layers.error_pages import refuse, response_of
from entrepot.mitm.lifecycle import Running, client_of
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import FOR_THE_PROXY, content_fields
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Answer, Request, error_answer, field_values
from entrepot.protocol.routes import Blob, Endpoint, Manifest, Referrers, Tags, parse_endpoint
from entrepot.pull.cache import Cache
from entrepot.upstream.discovery.interception import Role

NOTE = "entrepot.note"
ANSWERED = "entrepot.answered"
"""Keys of ``flow.metadata``: the :class:`Note`, and that the answer is ours."""

NOWHERE = Origin("http", SELF, 80)
"""The origin of a request that names none."""

_TOO_LARGE = error_answer(405, "UNSUPPORTED", "a mirror is for pulling").adding(
    ("Allow", "GET, HEAD"), cache_status.ERROR
)


class Way(Enum):
    """Who answers a request."""

    CACHE = auto()
    LOGINS = auto()
    LISTS = auto()
    """Upstream, asked as an account."""
    PASS = auto()
    """Upstream, through mitmproxy."""


@dataclass(frozen=True, slots=True)
class Note:
    """What was found out about a registry's flow when its request came."""

    request: Request
    endpoint: Endpoint
    way: Way


class Requests:
    """Answers requests, or lets them through."""

    def __init__(self, running: Running) -> None:
        self._running = running

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Look at a request before its body comes; none is held but a small form for a token."""
        if self._running.engine is None:
            return
        refusal = self._running.engine.admission.refusal(client_of(flow.client_conn))
        if refusal is not None:
            self._refuse(flow, error_answer(403, "DENIED", refusal))
            return
        pardon(flow)
        if flow.response is not None:
            flow.metadata[ANSWERED] = True
        if flow.response is not None or translate.is_to_a_mirror(flow):
            size = translate.content_size(flow)
            if size is None or size > LARGEST_FORM:  # mitmproxy would hold or stream the body
                refuse(flow, flow.response or response_of(_TOO_LARGE, flow.request))
            return
        if flow.request.host == SELF:
            return
        note = await self._note(flow)
        if note is None:
            flow.request.stream = True
            return
        problem = translate.authority_mismatch(flow, note.request.origin)
        if problem is not None:
            self._misdirected(flow, problem)
            return
        if (unasked := self._unasked(note)) is not None:
            self._refuse(flow, unasked)
            return
        flow.metadata[NOTE] = note
        flow.request.stream = note.way is Way.PASS

    def _unasked(self, note: Note) -> Answer | None:
        """The answer where upstream is not to be asked now; our own requests see to that alone."""
        context, origin = self._running.parts().context, note.request.origin
        if note.way in (Way.PASS, Way.LISTS) and context.health.offline:
            return error_answer(503, "UNAVAILABLE", "the proxy is offline")
        if note.way is Way.PASS and not context.health.may_ask(origin, spare=False):
            how = cache_status.bypass(note.endpoint.detail)
            return unavailable(context.health.left_alone(origin), how)
        return None

    async def _note(self, flow: http.HTTPFlow) -> Note | None:
        """Describe a request to a registry; None for one to anything else."""
        origin = translate.origin_of(flow)
        if origin is None or flow.error is not None:
            return None
        for name in FOR_THE_PROXY:
            flow.request.headers.pop(name, None)
        role, received = await self._role(flow, origin), translate.request_of(flow, origin)
        logins = self._running.parts().logins
        if role is Role.TOKENS and not logins.takes_for_token(
            received, translate.content_size(flow)
        ):
            role = None
        if role is None:
            return None
        request = logins.settle(received)
        if request is not received:
            del flow.request.headers["authorization"]
        endpoint = parse_endpoint(request.method, request.path, request.query)
        if role is Role.TOKENS:
            return Note(request, endpoint, Way.LOGINS)
        if not translate.has_content(flow):
            request = self._running.parts().behalf.take(request, endpoint)
        return Note(request, endpoint, self._way(flow, request, endpoint))

    async def _role(self, flow: http.HTTPFlow, origin: Origin) -> Role | None:
        """As what a host is looked into: what was decided for the connection, if anything was."""
        role = self._running.roles.get(flow.client_conn.id)
        if role is not None and origin.scheme == "https":
            return role
        # To the proxy itself, in absolute-form.
        parts, client = self._running.parts(), client_of(flow.client_conn)
        reach = parts.destinations.named_by_client(origin.host, origin.port, client)
        registry = await parts.hosts.is_registry(origin, reach, client)
        return Role.REGISTRY if registry else None

    def _way(self, flow: http.HTTPFlow, request: Request, endpoint: Endpoint) -> Way:
        if Cache.is_cacheable(request.method, endpoint):
            return Way.PASS if translate.has_content(flow) else Way.CACHE
        if request.account is not None:
            return Way.LISTS
        logins, size = self._running.parts().logins, translate.content_size(flow)
        return Way.LOGINS if logins.takes(request, endpoint, size) else Way.PASS

    def _misdirected(self, flow: http.HTTPFlow, problem: str) -> None:
        self._running.parts().events.log(
            Event.REQUEST_MISDIRECTED, client=client_of(flow.client_conn), reason=problem
        )
        message = f"{problem} is not the host that the connection was made to"
        self._refuse(flow, error_answer(421, "MISDIRECTED", message))

    def _refuse(self, flow: http.HTTPFlow, answer: Answer) -> None:
        translate.put_answer(flow, answer)
        flow.metadata[ANSWERED] = True
        if translate.has_content(flow) and flow.response is not None:
            refuse(flow, flow.response)

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer what can be cached, and what is addressed to the proxy itself."""
        if flow.response is not None or flow.error is not None:
            return
        self._running.begin()
        try:
            await self._answer(flow)
        except DestinationError as error:
            warn(self._running, flow.client_conn, flow.request.host, flow.request.port, str(error))
            translate.put_answer(flow, refused(error))
            flow.metadata[ANSWERED] = True
        except Exception:  # noqa: BLE001 one failure must not end the others
            self._running.events().log(Event.HOOK_FAILED, task="the answer to a request")
            translate.put_answer(flow, error_answer(500, "UNKNOWN", "the cache failed"))
            flow.metadata[ANSWERED] = True
        finally:
            self._running.end()

    async def _answer(self, flow: http.HTTPFlow) -> None:
        note: Note | None = flow.metadata.get(NOTE)
        if flow.request.host == SELF:
            answer = self._running.parts().pages.answer(flow.request.method, flow.request.path)
        elif translate.is_to_a_mirror(flow):
            answer = await self._answer_at_mirror(flow)
        elif note is None or flow.request.stream:
            return
        else:
            answer = await self._answer_registry(note, flow.request.raw_content or b"")
            self._led_on(flow, answer)
            if answer.status == 401:
                challenges = field_values(answer.headers, "WWW-Authenticate")
                interception = self._running.parts().interception
                interception.sent(note.request.client, note.request.origin, challenges)
        if flow.request.http_version == "HTTP/1.0" and translate.needs_chunks(answer):
            answer.close()
            answer = error_answer(505, "UNSUPPORTED", "HTTP/1.1 is needed for this transfer")
        translate.put_answer(flow, answer)
        flow.metadata[ANSWERED] = True

    def _led_on(self, flow: http.HTTPFlow, answer: Answer) -> None:
        """Raise where it has become known meanwhile that this client is not led to the place.

        Another one may have been, whose answer this is.
        """
        host, port = flow.request.host, flow.request.port
        why = foreseen(self._running, flow.client_conn, host, port)
        if why is not None:
            answer.close()
            raise DestinationError(why)

    async def _answer_at_mirror(self, flow: http.HTTPFlow) -> Answer:
        parts, request = self._running.parts(), translate.request_of(flow, NOWHERE)
        if request.path != "/v2" and not request.path.startswith("/v2/"):
            return parts.pages.answer(request.method, request.path)
        mirror = self._running.mirror_modes[flow.client_conn.proxy_mode.full_spec]
        return await parts.mirrors.answer(request, mirror)

    async def _answer_registry(self, note: Note, content: bytes) -> Answer:
        parts, request = self._running.parts(), note.request
        if note.way is Way.LISTS and isinstance(note.endpoint, Tags | Referrers):
            answer = await parts.behalf.list(request, note.endpoint)
        elif isinstance(note.endpoint, Blob | Manifest) and note.way is not Way.LOGINS:
            answer = await parts.cache.handle(request, note.endpoint)
        else:
            return await parts.logins.handle(request, content)
        if answer.status == 401:
            challenges = field_values(answer.headers, "WWW-Authenticate")
            parts.logins.challenged(request.origin, challenges, content_fields(request))
        return answer

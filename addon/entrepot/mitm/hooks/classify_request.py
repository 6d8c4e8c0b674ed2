"""What a request is, and who answers it: the cache, the login, or upstream itself.

It is decided when the request's head has come, once for all hooks.
"""

from dataclasses import dataclass
from enum import Enum, auto

from mitmproxy import http

from entrepot.mitm import translate
from entrepot.mitm.state import ProxyState, client_of
from entrepot.protocol.header_filters import FOR_THE_PROXY
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request
from entrepot.protocol.routes import Endpoint, parse_endpoint
from entrepot.pull.cache import Cache
from entrepot.upstream.discovery.interception import Role

CLASSIFIED = "entrepot.classified"
ANSWERED = "entrepot.answered"
"""Keys of ``flow.metadata``: the :class:`Classified` request, and that the answer is ours."""


class AnsweredBy(Enum):
    """Who answers a request."""

    CACHE = auto()
    LOGIN = auto()
    """Pings and tokens (``endpoints.login_requests``)."""
    UPSTREAM = auto()
    """Upstream itself: the request passes through mitmproxy."""


@dataclass(frozen=True, slots=True)
class Classified:
    """A request to a registry or its token server; ``endpoint`` is what it asks for."""

    request: Request
    endpoint: Endpoint
    by: AnsweredBy


def passing(flow: http.HTTPFlow) -> Classified | None:
    """What a flow asks a registry for, where the request passes through to it."""
    asked: Classified | None = flow.metadata.get(CLASSIFIED)
    return asked if asked is not None and asked.by is AnsweredBy.UPSTREAM else None


async def classify(state: ProxyState, flow: http.HTTPFlow) -> Classified | None:
    """Say what a flow's request is; None for one to anything but a registry.

    What was meant for this proxy alone is taken off the request, and so is a login that is not to
    be shown upstream.
    """
    origin = translate.origin_of(flow)
    if origin is None or flow.error is not None:
        return None
    for name in FOR_THE_PROXY:
        flow.request.headers.pop(name, None)
    role, received = await _role(state, flow, origin), translate.request_of(flow, origin)
    logins = state.parts().logins
    if role is Role.TOKENS and not logins.takes_for_token(received, translate.content_size(flow)):
        role = None
    if role is None:
        return None
    settled = logins.settle(received)
    if settled is not received:
        del flow.request.headers["authorization"]
    request = state.parts().cache.settle(settled)
    endpoint = parse_endpoint(request.method, request.path, request.query)
    if role is Role.TOKENS:
        return Classified(request, endpoint, AnsweredBy.LOGIN)
    if not translate.has_content(flow):
        request = state.parts().account_requests.as_account(request, endpoint)
    return Classified(request, endpoint, _by(state, flow, request, endpoint))


async def _role(state: ProxyState, flow: http.HTTPFlow, origin: Origin) -> Role | None:
    """As what a host is looked into: what was decided for the connection, if anything was."""
    role = state.roles.get(flow.client_conn.id)
    if role is not None and origin.scheme == "https":
        return role
    # To the proxy itself, in absolute-form.
    parts, client = state.parts(), client_of(flow.client_conn)
    reach = parts.destinations.named_by_client(origin.host, origin.port, client)
    registry = await parts.hosts.is_registry(origin, reach, client)
    return Role.REGISTRY if registry else None


def _by(state: ProxyState, flow: http.HTTPFlow, request: Request, endpoint: Endpoint) -> AnsweredBy:
    if Cache.is_cacheable(request.method, endpoint):
        return AnsweredBy.UPSTREAM if translate.has_content(flow) else AnsweredBy.CACHE
    logins, size = state.parts().logins, translate.content_size(flow)
    return AnsweredBy.LOGIN if logins.takes(request, endpoint, size) else AnsweredBy.UPSTREAM

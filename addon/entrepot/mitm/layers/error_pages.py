"""The answer to a request that failed: an OCI error, or a line of text.

mitmproxy's own answer is a page of HTML that quotes its internals. A client of a registry gets an
OCI error instead (distribution-spec "Error Codes"), any other a line of text. The reasons are those
of ``mitmproxy_errors``.
"""

from mitmproxy import http
from mitmproxy.net.http import http1
from mitmproxy.proxy.layers.http._events import ResponseProtocolError

from entrepot.protocol import cache_status
from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.identifiers import bracketed
from entrepot.protocol.messages import Answer, error_answer
from entrepot.protocol.routes import parse_endpoint
from entrepot.protocol.statuses import reason_phrase

REFUSAL = "entrepot.refusal"
"""Key of ``flow.metadata``: the answer to a request that is refused while its body is to come."""

_PORTS = {"http": 80, "https": 443}
_CODES = {
    400: "BAD_REQUEST",
    413: "SIZE_INVALID",
    431: "SIZE_INVALID",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    505: "UNSUPPORTED",
    508: "UNAVAILABLE",
}


class RefusedError(ResponseProtocolError):
    """An error that comes with what the client is to get."""

    def __init__(self, stream_id: int, response: http.Response, message: str) -> None:
        super().__init__(stream_id, message, ResponseProtocolError.code)
        self.response = response


def speaks_registry(request: http.Request) -> bool:
    """Whether a request is one of the distribution API, by its path."""
    return request.path.partition("?")[0] == "/v2" or request.path.startswith("/v2/")


def refusal(
    status: int, message: str, request: http.Request | None, *, oci: bool, **detail: str
) -> http.Response:
    """The answer to a request that cannot be passed on: an OCI error, or a line of text.

    ``oci``: whether a registry is spoken to, whatever is asked.
    """
    if not oci and (request is None or not speaks_registry(request)):
        return text(status, message)
    answer = error_answer(status, _CODES.get(status, "UNKNOWN"), message, **detail)
    return response_of(answer.adding(_how(status, request)), request)


def unanswered(request: http.Request, reason: str, *, oci: bool) -> http.Response:
    """The answer where upstream gave none."""
    port = "" if request.port == _PORTS.get(request.scheme) else f":{request.port}"
    upstream = f"{request.scheme}://{bracketed(request.host)}{port}"
    message = f"upstream: {upstream}: {reason}"
    return refusal(502, message, request, oci=oci, upstream=upstream, reason=reason)


def _how(status: int, request: http.Request | None) -> CacheStatus:
    if request is None or status < 500:
        return cache_status.ERROR
    path, _, query = request.path.partition("?")
    return cache_status.bypass(parse_endpoint(request.method.upper(), path, query).detail)


def response_of(answer: Answer, request: http.Request | None = None) -> http.Response:
    """An answer whose content is at hand; to HEAD only its head."""
    assert isinstance(answer.content, bytes)  # noqa: S101 for the type
    silent = request is not None and request.method.upper() == "HEAD"
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    # Not Response.make, which would set Content-Length to that of the content here.
    return http.Response(
        b"HTTP/1.1",
        answer.status,
        reason_phrase(answer.status, answer.why).encode("ascii"),
        http.Headers(fields),
        b"" if silent else answer.content,
        None,
        0,
        0,
    )


def text(status: int, reason: str) -> http.Response:
    """An answer of one line, for whoever is no client of a registry."""
    fields = {"Content-Type": "text/plain; charset=utf-8"}
    response = http.Response.make(status, f"{reason}\n".encode(), fields)
    response.reason = reason_phrase(status, reason)
    return response


def refuse(flow: http.HTTPFlow, response: http.Response) -> None:
    """End a flow whose body is still to come; by itself mitmproxy would wait for that."""
    flow.kill()
    flow.metadata[REFUSAL] = response


def raw(response: http.Response) -> bytes:
    """The last answer on a connection, as it is sent."""
    response.headers["Connection"] = "close"
    whole: bytes = http1.assemble_response(response)
    return whole

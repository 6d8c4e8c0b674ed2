"""What mitmproxy says of a request that failed, in words of ours, and the answer to it.

mitmproxy's own answer is a page of HTML that quotes its internals. A client of a registry gets an
OCI error instead (distribution-spec "Error Codes"), any other a line of text. The texts are those
of mitmproxy 11.0 to 12.3; one that is not known is told without its details.
"""

import os
import re
from dataclasses import dataclass
from errno import ETIMEDOUT
from typing import Any

from mitmproxy import http
from mitmproxy.net.http import http1, status_codes
from mitmproxy.proxy.layers.http._events import ResponseProtocolError

from entrepot.protocol import cache_status
from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.identifiers import bracketed
from entrepot.protocol.messages import Answer, error_answer
from entrepot.protocol.routes import parse_endpoint

FAILURE = "entrepot.failure"
REFUSAL = "entrepot.refusal"
"""Keys of ``flow.metadata``: the :class:`Failure` of upstream, and the response to a request that
is refused while its body is still to come."""

NO_TIME = "no answer in time"
NO_PASSAGE = "it wants a user and password, or others (407)"
TOO_EARLY = "it switches protocols before it has the whole request"
NOT_LED = "the proxy does not lead there"
"""Problems that are found by us, as those of mitmproxy's are by their texts."""

_ERRNO = re.compile(r"\[Errno (-?\d+)\]")
_REFUSED = re.compile(r"refused HTTP CONNECT request: (\d+)")
_KILLED = re.compile(r"Connection killed: (.*)", re.DOTALL)
_NOT_LED = re.compile(rf"{NOT_LED}: [^'\"\]]+")
"""Among what failed with other addresses of the same name."""
_VERIFY = re.compile(r"certificate verify failed(: [\w ,'-]+)?", re.IGNORECASE)
_OPENSSL = re.compile(r"OpenSSL Error\(.*'([\w ,-]+)'\)\]\)")
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


@dataclass(frozen=True, slots=True)
class Failure:
    """Why upstream gave no answer, in words that quote nothing of a URL."""

    reason: str
    connected: bool = True
    """Whether a connection had been made, TLS and all."""
    slow: bool = False
    """Whether it took a deadline to know."""
    by_proxy: bool = False
    """Whether it is the upstream proxy that does not lead on."""
    by_us: bool = False
    """Whether it is we who would not connect, which says nothing of the host."""


def understand(message: str) -> Failure:
    """What mitmproxy's error about a server means."""
    if killed := _KILLED.match(message):
        return Failure(killed[1], connected=False, by_us=True)
    if not_led := _NOT_LED.search(message):
        return Failure(not_led[0], connected=False, by_us=True)
    if refused := _REFUSED.search(message):
        reason = NO_PASSAGE if refused[1] == "407" else f"it answered CONNECT with {refused[1]}"
        return Failure(reason, connected=False)
    if number := _ERRNO.search(message):
        return _system(int(number[1]))
    for text, failure in _KNOWN.items():
        if text in message:
            return failure
    if problem := _VERIFY.search(message) or _OPENSSL.search(message):
        told = problem[0] if problem.re is _VERIFY else problem[1]
        return Failure(f"TLS: {told.lower()}", connected=False)
    return Failure("it cannot be reached", connected=False)


_KNOWN = {
    NO_TIME: Failure(NO_TIME, connected=False, slow=True),
    "connection cancelled": Failure(NO_TIME, connected=False, slow=True),
    "does not speak TLS": Failure("TLS: it does not speak TLS", connected=False),
    "agree on a TLS version": Failure("TLS: no version in common", connected=False),
    "server closed connection": Failure("the connection broke off"),
    "connection closed": Failure("the connection broke off", connected=False),
    "without sending complete message body": Failure("the connection broke off"),
    "unexpected server response": Failure("its answer is no valid HTTP"),
    "Cannot parse HTTP response": Failure("its answer is no valid HTTP"),
    "HTTP/1 protocol error": Failure("its answer is no valid HTTP"),
    "Error connecting to": Failure("its answer is no valid HTTP", connected=False),
    "from server, refusing": Failure("its answer could be read in two ways"),
    "head is too long": Failure("its answer's head is too long"),
    NO_PASSAGE: Failure(NO_PASSAGE, connected=False, by_proxy=True),
    TOO_EARLY: Failure(TOO_EARLY),
}


def _system(number: int) -> Failure:
    if number < 0:  # getaddrinfo's
        return Failure("its name does not resolve", connected=False)
    slow = number == ETIMEDOUT
    return Failure(NO_TIME if slow else os.strerror(number).lower(), connected=False, slow=slow)


def fault_of_client(message: str) -> str:
    """What mitmproxy's error about a client's request means."""
    for text, reason in (
        ("from client, refusing", "the request could be read in two ways"),
        ("HTTP CONNECT request", "a CONNECT is not for here"),
        ("Invalid request scheme", "want http or https in the target"),
        ("no host header", "want a host in the target or in Host"),
        ("body exceeds", "the body is too large"),
        ("trailers", "trailers are not supported"),
    ):
        if text in message:
            return reason
    return "the request is malformed"


class RefusedError(ResponseProtocolError):
    """An error that comes with what the client is to get."""

    def __init__(self, stream_id: int, response: http.Response, message: str) -> None:
        super().__init__(stream_id, message, ResponseProtocolError.code)
        self.response = response


def status_of(event: ResponseProtocolError) -> int | None:
    """With which status mitmproxy would answer; None where it would only close."""
    code: Any = event.code
    if not isinstance(code, int):
        return code.http_status_code()  # type: ignore[no-any-return]
    silent = (status_codes.NO_RESPONSE, status_codes.CLIENT_CLOSED_REQUEST)
    return None if code in silent else code  # mitmproxy 11


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
        status_codes.RESPONSES.get(answer.status, "").encode(),
        http.Headers(fields),
        b"" if silent else answer.content,
        None,
        0,
        0,
    )


def text(status: int, reason: str) -> http.Response:
    """An answer of one line, for whoever is no client of a registry."""
    fields = {"Content-Type": "text/plain; charset=utf-8"}
    return http.Response.make(status, f"{reason}\n".encode(), fields)


def refuse(flow: http.HTTPFlow, response: http.Response) -> None:
    """End a flow whose body is still to come; by itself mitmproxy would wait for that."""
    flow.kill()
    flow.metadata[REFUSAL] = response


def raw(response: http.Response) -> bytes:
    """The last answer on a connection, as it is sent."""
    response.headers["Connection"] = "close"
    whole: bytes = http1.assemble_response(response)
    return whole

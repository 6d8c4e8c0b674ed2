"""Translation between mitmproxy's flows and the engine's values: requests in, answers out."""

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode

from entrepot.mitm.sending.chunk_loop import BODY
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import end_to_end
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Answer, Fields, Request
from entrepot.protocol.statuses import reason_phrase

WHY = "entrepot.why"
FETCHING = "entrepot.fetching"
"""Keys of ``flow.metadata``: why the answer is what it is, and the fetch that it began."""


def origin_of(flow: http.HTTPFlow, scheme: str | None = None) -> Origin | None:
    """Where a flow goes; None where the address is none that we handle.

    ``scheme`` is for CONNECT, which has none.
    """
    request = flow.request
    try:
        return Origin.make(scheme or request.scheme, request.host, request.port)
    except ValueError:
        return None


def request_of(flow: http.HTTPFlow, origin: Origin) -> Request:
    """The request of a flow, with its end-to-end fields alone.

    So what makes two requests the same, or says who asks, is what goes upstream: a client's
    ``Connection: accept`` takes ``Accept`` off both.
    """
    path, mark, query = flow.request.path.partition("?")
    if mark and not query:
        path += mark  # an empty query is not none: upstream shall judge that spelling
    return Request(
        flow.request.method.upper(),
        origin,
        path,
        query,
        end_to_end(fields_of(flow.request)),
        lambda: flow.client_conn.connected,
        flow.client_conn.peername[0] if flow.client_conn.peername else "",
    )


def is_to_a_mirror(flow: http.HTTPFlow) -> bool:
    """Whether a flow came to a listener that is a mirror."""
    return isinstance(flow.client_conn.proxy_mode, ReverseMode)


def fields_of(message: http.Message) -> Fields:
    """The header fields of a message, a character for each byte, as http.client has them."""
    return tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in message.headers.fields
    )


def has_content(flow: http.HTTPFlow) -> bool:
    """Whether a request announces a body."""
    headers = flow.request.headers
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip() != "0"


def content_size(flow: http.HTTPFlow) -> int | None:
    """How large a request's body is; None where that is not said beforehand."""
    if "transfer-encoding" in flow.request.headers:
        return None
    text = flow.request.headers.get("content-length", "0").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def needs_chunks(answer: Answer) -> bool:
    """Whether the length is unknown: HTTP/1.0 could not tell such a body's end from a cut."""
    return not isinstance(answer.content, bytes) and answer.content.size is None


def put_answer(flow: http.HTTPFlow, answer: Answer) -> None:
    """Make ``answer`` the response of a flow; a body is sent in band (``sending``)."""
    headers = http.Headers(
        [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    )
    if answer.status >= 400 and "cache-status" not in headers:
        headers.add(*cache_status.ERROR)
    if answer.why:
        flow.metadata[WHY] = answer.why
    if answer.fetching is not None:
        flow.metadata[FETCHING] = answer.fetching
    body = answer.content
    silent = flow.request.method == "HEAD"  # even an error of ours has only its head then
    content = body if isinstance(body, bytes) and not silent else b""
    if not isinstance(body, bytes):
        flow.metadata[BODY] = body
        if body.size is None:
            headers["Transfer-Encoding"] = "chunked"
    phrase = reason_phrase(answer.status, answer.why)
    # Not Response.make, which would set Content-Length to that of the content here.
    flow.response = http.Response(
        b"HTTP/1.1", answer.status, phrase.encode("ascii"), headers, content, None, 0, 0
    )

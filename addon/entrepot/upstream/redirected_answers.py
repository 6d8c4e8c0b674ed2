"""What may be passed on of an answer that comes from where a redirect led.

It is not the registry that speaks there, and its client never asked there: so its words are not
passed on as the registry's. What is verified by a digest goes on whoever sent it; besides that only
the head that describes content (to a HEAD), and a part of content that its client verifies (206).
A failure keeps its status, and is said in our own words.
"""

from entrepot.http_client.response import Reply
from entrepot.http_client.retry_after import parse_retry_after
from entrepot.protocol.messages import Answer, Fields, Request, upstream_error

_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 429: "TOOMANYREQUESTS"}


def is_elsewhere(request: Request, reply: Reply) -> bool:
    """Whether a redirect led away from the registry that was asked."""
    return reply.target.origin != request.origin


def is_page(fields: Fields) -> bool:
    """Whether an answer is a web page: what a sign-on, a portal or a proxy shows of itself."""
    types = (value.strip().lower() for name, value in fields if name.lower() == "content-type")
    return any(one.startswith(("text/html", "application/xhtml")) for one in types)


def problem(request: Request, reply: Reply) -> Answer | None:
    """What is said instead of an answer that may not be passed on; None for one that may."""
    host = reply.target.origin
    if reply.status >= 400:
        reason = f"it sends to {host}, which answered {reply.status}"
        code = _CODES.get(reply.status, "UNAVAILABLE")
        answer = upstream_error(reply.status, code, request.origin, reason)
        after = reply.value("Retry-After")
        known = after is not None and parse_retry_after(after) is not None
        return answer.adding(("Retry-After", str(after))) if known else answer
    if request.method == "HEAD" and reply.status == 200:
        return None
    if reply.status == 206 and not is_page(reply.headers):
        return None
    reason = f"it sends to {host}, which sent nothing that could be verified"
    return upstream_error(502, "UNAVAILABLE", request.origin, reason)

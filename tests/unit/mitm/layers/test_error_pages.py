"""What mitmproxy's texts mean; those of 11.0 to 12.3, and of the system."""

import pytest
from mitmproxy import http

from entrepot.mitm.layers.error_pages import NO_PASSAGE, NO_TIME, refusal, unanswered, understand

CONNECTED, NOT, SLOW = (True, False), (False, False), (False, True)
"""Whether a connection had been made, and whether it took a deadline to know."""

FAILURES = {
    "[Errno 111] Connect call failed ('10.0.0.1', 443)": ("connection refused", NOT),
    "Multiple exceptions: [Errno 113] Connect call failed ('::1', 443, 0, 0), [Errno 111] C": (
        "no route to host",
        NOT,
    ),
    "[Errno 110] Connect call failed ('10.0.0.1', 443)": (NO_TIME, SLOW),
    "[Errno -2] Name or service not known": ("its name does not resolve", NOT),
    NO_TIME: (NO_TIME, SLOW),
    "connection cancelled": (NO_TIME, SLOW),
    "Connection killed: it is this proxy itself": ("it is this proxy itself", NOT),
    "Certificate verify failed: hostname mismatch": (
        "TLS: certificate verify failed: hostname mismatch",
        NOT,
    ),
    "OpenSSL Error([('SSL routines', '', 'sslv3 alert handshake failure')])": (
        "TLS: sslv3 alert handshake failure",
        NOT,
    ),
    "The remote server does not speak TLS.": ("TLS: it does not speak TLS", NOT),
    "Upstream proxy 10.0.0.1:3128 refused HTTP CONNECT request: 407 No": (NO_PASSAGE, NOT),
    "Upstream proxy 10.0.0.1:3128 refused HTTP CONNECT request: 403 No": (
        "it answered CONNECT with 403",
        NOT,
    ),
    "server closed connection": ("the connection broke off", CONNECTED),
    "connection closed": ("the connection broke off", NOT),
    "HTTP/1 protocol error: peer closed connection without sending complete message body (rec": (
        "the connection broke off",
        CONNECTED,
    ),
    "HTTP/1 protocol error: illegal chunk header": ("its answer is no valid HTTP", CONNECTED),
    "unexpected server response: b'token=secret'": ("its answer is no valid HTTP", CONNECTED),
    "Cannot parse HTTP response: Invalid header": ("its answer is no valid HTTP", CONNECTED),
    "something new with https://host/?secret": ("it cannot be reached", NOT),
}


@pytest.mark.parametrize("text", FAILURES)
def test_a_text_becomes_a_reason(text: str) -> None:
    """Each has its words, and whether a connection was made; none is quoted that is not known."""
    failure = understand(text)
    assert (failure.reason, (failure.connected, failure.slow)) == FAILURES[text]


def test_the_form_of_an_answer() -> None:
    """OCI errors to who asks for /v2/, wherever; lines to others; to HEAD a head alone."""
    request = http.Request.make("HEAD", "http://[::1]:5000/v2/a/tags/list?n=1")
    answer = unanswered(request, "it is away", oci=False)
    assert (answer.status_code, answer.raw_content) == (502, b"")
    assert answer.headers["Cache-Status"] == "entrepot; fwd=bypass; detail=tags"
    request.method = "GET"
    told = unanswered(request, "it is away", oci=False)
    assert len(told.raw_content or b"") == int(answer.headers["Content-Length"])
    assert b"upstream: http://[::1]:5000: it is away" in (told.raw_content or b"")
    request.path = "/other"
    assert refusal(400, "wrong", request, oci=False).raw_content == b"wrong\n"
    assert refusal(400, "wrong", None, oci=False).headers["Content-Type"].startswith("text/plain")
    inside = refusal(400, "wrong", None, oci=True)
    assert inside.headers["Cache-Status"] == "entrepot; detail=error"

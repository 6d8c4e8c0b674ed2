"""What mitmproxy's texts mean; those of 11.0 to 12.3, and of the system."""

import pytest

from entrepot.mitm.layers.mitmproxy_errors import NO_PASSAGE, NO_TIME, understand

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

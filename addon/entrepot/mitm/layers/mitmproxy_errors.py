"""What mitmproxy's error texts mean, in words of ours that quote nothing of a URL.

The texts are those of mitmproxy 11.0 to 12.3; one that is not known is told without its details.
"""

import os
import re
from dataclasses import dataclass
from errno import ETIMEDOUT
from typing import Any

from mitmproxy.net.http import status_codes
from mitmproxy.proxy.layers.http._events import ResponseProtocolError

FAILURE = "entrepot.failure"
"""Key of ``flow.metadata``: the :class:`Failure` of upstream."""

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


def status_of(event: ResponseProtocolError) -> int | None:
    """With which status mitmproxy would answer; None where it would only close."""
    code: Any = event.code
    if not isinstance(code, int):
        return code.http_status_code()  # type: ignore[no-any-return]
    silent = (status_codes.NO_RESPONSE, status_codes.CLIENT_CLOSED_REQUEST)
    return None if code in silent else code  # mitmproxy 11

"""What the status of an answer says, where more than one place decides by it (RFC 9110 section 15).

Sets that differ differ on purpose; what each says more or less than another is said at it.
"""

from http import HTTPStatus

from entrepot.protocol.quirks import AWS_NO_HTTP_1, NGINX_NO_CERTIFICATE

TRANSIENT = frozenset({429, 500, 502, 503, 504})
"""Says something of the moment, and nothing of what was asked: so it may be asked again, and what
is cached may be served in its place (stale-if-error, RFC 5861). Not 501, which is for good."""

TRANSIENT_AT_ONCE = TRANSIENT - {429}
"""Of these, what may be over at the next moment. A rate limit is not, and asking counts."""

TRANSIENT_WHILE_FETCHING = TRANSIENT | {408}
"""For the rest of a blob, which is asked for behind its readers: a server that was slow to read the
request (Request Timeout) is asked again too, since there is time and its 408 is no answer for a
client."""

TRANSIENT_OF_A_TUNNEL = frozenset({502, 503, 504})
"""With what an upstream proxy answers CONNECT where the next may do better. Its 500 is a fault of
its own, its 429 is not for one host, and who asks is told."""

REFUSALS = frozenset({400, 401, 403})
"""Who asks may not, with what was shown; 400 is what a login gets that cannot be read."""

GONE = frozenset({404, 410, 451})
"""An object is not there; or, of a registry that hides it, not for all."""

NO_HTTP_1 = frozenset({426, AWS_NO_HTTP_1, 505})
"""Upgrade Required, or HTTP Version Not Supported: the server has HTTP/2 alone."""

UNFIT = NO_HTTP_1 | NGINX_NO_CERTIFICATE | {400, 403}
"""With what a server answers whom it wants a certificate of, or HTTP/2: what it says where it is
intercepted, and would not say otherwise."""


FOR_GOOD = frozenset({501, 505})
"""Not Implemented, HTTP Version Not Supported: what was asked is not done there, today or tomorrow.
It says nothing of how a server does."""


def is_failure(status: int) -> bool:
    """Whether an answer says that its server does not do well: 5xx, private ones too, or 429."""
    return (status >= 500 and status not in FOR_GOOD) or status == 429


def is_no_answer(status: int) -> bool:
    """Whether a token server said nothing of the login: any 5xx, 501 and private ones too, or 429.

    Nothing of its answer would be passed on, so here it counts as if it had not come.
    """
    return status >= 500 or status == 429


_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_MOST_OF_PHRASE = 300
"""Characters of a reason phrase that others may have to show in a line."""


def reason_phrase(status: int, why: str = "") -> str:
    """What follows the status in the first line of an answer (RFC 9112 section 4).

    With the reason of an error, and only of one.

    Of an answer to CONNECT, to HEAD, and of any 5xx, clients written in Go (docker, containerd,
    podman, skopeo) show this line, and nothing of the body (``Transport.dialConn`` of net/http,
    ``HandleErrorResponse`` of distribution's client).
    """
    known = _PHRASES.get(status, "")
    if not why or status < 400:
        return known
    told = "".join(c if " " <= c <= "~" else " " for c in why[:_MOST_OF_PHRASE])
    return f"{known} ({told})".strip()

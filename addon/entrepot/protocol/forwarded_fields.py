"""What of a client's header fields goes upstream with a question whose answer others may get too.

Such an answer must not depend on what one client says, since another would hear of it: a registry
that believes ``Forwarded: host=`` names that host as the place to get a token. So it is asked with
a fixed set of fields, and what is learnt for all (a realm, that a registry is there, that a token
was anybody's to have) is learnt only from answers to requests that held nothing else.
"""

from collections.abc import Iterable

from entrepot.protocol.headers import normalise_accept
from entrepot.protocol.identity_fields import identity_fields
from entrepot.protocol.messages import Fields, Request
from entrepot.protocol.routes import Manifest, Referrers, parse_endpoint

_PLAIN = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "authorization",
        "cache-control",
        "connection",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "expect",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "pragma",
        "range",
        "te",
        "transfer-encoding",
        "user-agent",
    }
)
"""Fields of which no server makes the address of another: ``Host`` is the one that was asked.
Not ``Forwarded``, ``Via``, ``Origin`` or ``Referer``, nor any that is not known."""


def forwarded(request: Request) -> Fields:
    """The header fields with which content is asked for.

    A fixed set, since the answer may be given to others: what says who asks, which is part of what
    makes two requests the same, and for a manifest the ``Accept`` that is part of it too, in that
    one spelling. All else is the proxy's own. Never ``Range`` or a condition, since the whole
    object is wanted, nor ``Accept-Encoding``: the bytes must be those that the digest names. With
    an account it is the account that asks.
    """
    endpoint = parse_endpoint(request.method, request.path, request.query)
    chosen = isinstance(endpoint, Manifest | Referrers)
    accept = normalise_accept(request.values("Accept") if chosen else ())
    who = identity_fields(request) if request.account is None else ()
    return (*who, ("Accept", accept), ("Accept-Encoding", "identity"))


def is_plain(name: str) -> bool:
    """Whether a request's field of this name leaves alone which other hosts an answer names.

    Servers behind proxies believe ``Forwarded`` and its like, and would name whom the client wants
    as the place to get a token.
    """
    return name.lower() in _PLAIN


def are_plain(fields: Iterable[tuple[str, str]]) -> bool:
    """Whether all of a request's fields are, so that its answer may teach what holds for others."""
    return all(is_plain(name) for name, _ in fields)

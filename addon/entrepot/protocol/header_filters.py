"""Which header fields go where: what says who asks, what goes upstream, what may go to others.

A cache that answers many from one question must know of each field what it does to the answer:

- What says who asks decides who may have the answer (``SAYS_NOT_WHO``).
- A question whose answer others get too is asked with a fixed set of fields, since another would
  hear of what one client adds: a registry that believes ``Forwarded: host=`` names that host as the
  place to get a token (cache poisoning by an unkeyed field). What is learnt for all (a realm, that
  a registry is there, that a token was anybody's to have) is learnt only from answers to requests
  that held nothing else (``NAMES_NO_HOST``).
- An answer loses what is the client's own before another gets it (``FOR_ONE_CLIENT``), and all
  that is not about content where it comes from elsewhere than the registry (``ABOUT_CONTENT``).

Names are in lower case. Where nothing is known of a field it counts as the worst it could be.
"""

from collections.abc import Collection, Iterable

from entrepot.protocol.headers import normalise_accept
from entrepot.protocol.messages import Fields, Request, field_values
from entrepot.protocol.routes import Manifest, Referrers, parse_endpoint

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that speak of one connection, never to be passed on (RFC 9110 section 7.6.1)."""

FOR_THE_PROXY = frozenset({"proxy-authorization", "proxy-connection"})
"""Those of a client that are meant for this proxy alone, also where all else passes through."""

SAYS_NOT_WHO = HOP_BY_HOP | {
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-length",
    "content-type",
    "date",
    "docker-distribution-api-version",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "range",
    "referer",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "x-request-id",
}
"""Fields of a request that say nothing of who asks. Any other may: a cookie, ``PRIVATE-TOKEN``."""

NAMES_NO_HOST = frozenset(
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
"""Fields of which no server makes the address of another: ``Host`` is the one that was asked. Not
``Forwarded``, ``Via``, ``Origin`` or ``Referer``, which servers behind proxies believe."""

ASKS_FOR_MORE = frozenset(
    {
        "cache-control",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "origin",
        "pragma",
        "range",
    }
)
"""Fields that ask for another answer than everybody's, or for a new one: a condition, a part, CORS,
no cache."""

ACROSS_HOSTS = frozenset({"accept", "accept-encoding", "range", "user-agent"})
"""What of a request follows a redirect to another host: nothing that the registry alone may see."""

SET_BY_US = frozenset({"accept-encoding", "content-length", "host"})
"""What a request that is passed on gets anew."""

FOR_ONE_CLIENT = frozenset({"set-cookie"})
"""Fields of an answer that are for the one who asked."""

ABOUT_CONTENT = frozenset(
    {
        "accept-ranges",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "docker-content-digest",
        "docker-distribution-api-version",
        "etag",
        "last-modified",
    }
)
"""Fields of an answer that describe content, and let its reader do nothing."""

OF_A_PING = frozenset(
    {"content-type", "date", "docker-distribution-api-version", "www-authenticate"}
)
"""Fields of a ping's answer that everybody gets."""

OF_A_MANIFEST = frozenset({"link", "oci-filters-applied", "oci-subject", "warning"})
"""Fields with which a registry says more of a manifest, for whom it is fetched."""

OF_A_LIST = frozenset(
    {
        "content-type",
        "docker-distribution-api-version",
        "etag",
        "link",
        "oci-filters-applied",
    }
)
"""Fields of a list that are kept with it."""

ANYBODYS_PING: Fields = (("Accept", "*/*"), ("Accept-Encoding", "identity"))
"""With what a ping is sent whose answer everybody gets."""


def only(fields: Fields, names: Collection[str]) -> Fields:
    """The fields with one of these names."""
    return tuple(pair for pair in fields if pair[0].lower() in names)


def without(fields: Fields, names: Collection[str]) -> Fields:
    """The fields with none of these names."""
    return tuple(pair for pair in fields if pair[0].lower() not in names)


def end_to_end(fields: Fields) -> Fields:
    """``fields`` without the hop-by-hop ones, those that ``Connection`` names included."""
    named = {
        token.strip().lower()
        for value in field_values(fields, "connection")
        for token in value.split(",")
    }
    return without(fields, HOP_BY_HOP | named)


def identity_fields(request: Request) -> list[tuple[str, str]]:
    """The header fields of a request that may say who asks, names in lower case."""
    return [(k.lower(), v) for k, v in request.headers if k.lower() not in SAYS_NOT_WHO]


def name_no_host(fields: Iterable[tuple[str, str]]) -> bool:
    """Whether none of a request's fields has a say in which hosts the answer names.

    So that the answer may teach what holds for others.
    """
    return all(name.lower() in NAMES_NO_HOST for name, _ in fields)


def content_fields(request: Request) -> Fields:
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


def passed_on_fields(request: Request) -> Fields:
    """The header fields of a request that is passed on as it came: a ping, a token, a list."""
    fields = without(end_to_end(request.headers), SET_BY_US)
    return (*fields, ("Accept-Encoding", "identity"))

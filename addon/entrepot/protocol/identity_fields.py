"""What of a request may say who asks."""

from entrepot.protocol.messages import HOP_BY_HOP, Request

NEUTRAL = frozenset(
    {
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
    | HOP_BY_HOP
)
"""Header fields that say nothing of who asks."""


def identity_fields(request: Request) -> list[tuple[str, str]]:
    """The header fields of ``request`` that may say who asks, names in lower case."""
    return [(k.lower(), v) for k, v in request.headers if k.lower() not in NEUTRAL]

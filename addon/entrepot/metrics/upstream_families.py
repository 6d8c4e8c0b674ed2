"""Families of how upstream hosts do (``upstream_tallies``)."""

from entrepot.metrics.family import Family, Kind

FIRST_BYTE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds."""


def _gauge(name: str, meaning: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, meaning, labels)


ANSWERS = Family(
    "entrepot_upstream_answers_total",
    Kind.COUNTER,
    "Answers of upstream hosts by status: registries, token servers, content networks.",
    ("upstream", "code"),
)
FAILURES = Family(
    "entrepot_upstream_failures_total",
    Kind.COUNTER,
    "Requests to which an upstream host gave no answer, or none that came to its end.",
    ("upstream",),
)
FIRST_BYTE = Family(
    "entrepot_upstream_first_byte_seconds",
    Kind.HISTOGRAM,
    "From a request to an upstream host to the head of its answer, connecting included.",
    ("upstream",),
    FIRST_BYTE_BUCKETS,
)
UP = _gauge(
    "entrepot_upstream_up",
    "1 where the last answer of an upstream host was fit, else 0.",
    "upstream",
)
ASKED_AT = _gauge(
    "entrepot_upstream_asked_timestamp_seconds",
    "When an upstream host was last asked, in seconds since 1970.",
    "upstream",
)
BREAKER_OPEN = _gauge(
    "entrepot_upstream_breaker_open",
    "1 where the circuit breaker of an upstream host is not closed: the host is down or slow, or "
    "asked to be left alone.",
    "upstream",
)
HOSTS = _gauge(
    "entrepot_upstreams",
    "Upstream hosts that were asked lately, by how they do: ok, limited, failing, slow, down, "
    "resting.",
    "state",
)
LIMIT = _gauge(
    "entrepot_upstream_ratelimit_limit",
    "Pulls that an upstream host allows in a window, as it last said.",
    "upstream",
)
REMAINING = _gauge(
    "entrepot_upstream_ratelimit_remaining",
    "Pulls that are left of them, as it last said.",
    "upstream",
)
WINDOW = _gauge(
    "entrepot_upstream_ratelimit_window_seconds", "How long that window is.", "upstream"
)
SAID_AT = _gauge(
    "entrepot_upstream_ratelimit_timestamp_seconds",
    "When it last said so, in seconds since 1970.",
    "upstream",
)

FAMILIES = (
    ANSWERS,
    FAILURES,
    FIRST_BYTE,
    UP,
    ASKED_AT,
    BREAKER_OPEN,
    HOSTS,
    LIMIT,
    REMAINING,
    WINDOW,
    SAID_AT,
)

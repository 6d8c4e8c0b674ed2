"""Families of the engine: what runs now, the store and its disk, and what is counted as events."""

from entrepot.events.counters import Counter
from entrepot.metrics.family import Family, Kind


def _gauge(name: str, meaning: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, meaning, labels)


def _counter(name: str, meaning: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, meaning, labels)


BUILD = _gauge(
    "entrepot_build_info",
    "Always 1: which Entrepôt, mitmproxy and Python run.",
    "version",
    "mitmproxy",
    "python",
)
READY = _gauge("entrepot_ready", "1 where /readyz answers 200, else 0.")
PROBLEM = _gauge(
    "entrepot_problem", "1 for what /readyz gives as a reason, by its code, else 0.", "code"
)
AUTHORITY_EXPIRY = _gauge(
    "entrepot_authority_expiry_timestamp_seconds",
    "When the certificate of the authority that signs ends, in seconds since 1970.",
)
AUTHORITY_WAITING = _gauge(
    "entrepot_authority_waiting_clients",
    "Clients of the last week that may not be ready for the successor of the authority, while one "
    "is announced or has taken over; at most 15 s old.",
)
DOWNLOADS = _gauge("entrepot_downloads", "Blobs that are being fetched from upstream.")
WAITERS = _gauge("entrepot_download_clients", "Clients that wait for the bytes of one of these.")
CALLS = _gauge("entrepot_upstream_calls", "Questions to upstream that are not answered yet.")
WAITING_CALLS = _gauge(
    "entrepot_upstream_calls_waiting", "Questions that wait until others are answered."
)
UNTRUSTING = _gauge(
    "entrepot_untrusting_clients",
    "Clients that refused the certificate in the last day, 100 at most; at most 15 s old.",
)
OBJECTS = _gauge("entrepot_store_objects", "Blobs, manifests and kept lists in the store.")
STORED = _gauge(
    "entrepot_store_bytes",
    "What the store takes of its limit: objects, databases, unfinished files.",
)
UNFINISHED = _gauge(
    "entrepot_store_unfinished_bytes", "What unfinished downloads and pushes take of that."
)
LIMIT = _gauge("entrepot_store_limit_bytes", "The size limit (--size).")
DISK_FREE = _gauge("entrepot_disk_free_bytes", "What is free of the disk of the data folder.")
DISK_RESERVE = _gauge(
    "entrepot_disk_reserve_bytes", "What is left free of it: nothing is stored below that."
)
EVENTS = _counter("entrepot_events_total", "Events of the log, by name.", "event")

_PLAIN = {
    Counter.BLOB_REHASHED: "blobs_rehashed",
    Counter.BLOB_SCRUBBED: "blobs_scrubbed",
    Counter.EVICTED_BYTES: "evicted_bytes",
    Counter.PARALLEL_FETCHES: "parallel_ranges",
    Counter.RESUMED_FETCHES: "resumed_fetches",
    Counter.UPSTREAM_REQUESTS: "upstream_requests",
    Counter.UPSTREAM_RETRIES: "upstream_retries",
    Counter.UPSTREAM_ABANDONED: "upstream_abandoned",
    Counter.RATE_LIMITS: "ratelimited_answers",
    Counter.PROBES_REFUSED: "refused_probes",
    Counter.CLIENT_LEFT: "clients_left",
    Counter.RECORDS_DROPPED: "records_dropped",
    Counter.HANDSHAKE_FAILED: "tls_handshakes_failed",
    Counter.HANDSHAKE_REFUSED: "tls_handshakes_refused",
}
"""Counters that are a metric each."""

COUNTERS: dict[Family, tuple[tuple[tuple[str, ...], Counter], ...]] = {
    **{
        _counter(f"entrepot_{name}_total", counter.meaning): (((), counter),)
        for counter, name in _PLAIN.items()
    },
    _counter(
        "entrepot_evicted_objects_total",
        "Objects that gave way since the size limit, or the disk, had no room: blob, manifest.",
        "kind",
    ): (
        (("blob",), Counter.EVICTED_BLOBS),
        (("manifest",), Counter.EVICTED_MANIFESTS),
    ),
    _counter(
        "entrepot_tunnelled_connections_total",
        "Connections to registries past the cache: the client does not trust the CA (untrusting), "
        "the host asks for certificates or speaks no HTTP/1.1 (unfit), the CA may not sign for it "
        "(unpermitted).",
        "reason",
    ): (
        (("untrusting",), Counter.TUNNELLED_UNTRUSTING),
        (("unfit",), Counter.TUNNELLED_UNFIT),
        (("unpermitted",), Counter.TUNNELLED_UNPERMITTED),
    ),
}
"""What is counted and never logged, with the labels of each counter."""
IN_RECORDS = frozenset(
    {
        Counter.BLOB_HITS,
        Counter.BLOB_MISSES,
        Counter.BLOB_COLLAPSED,
        Counter.BLOB_RANGES,
        Counter.BLOB_UNSTORED,
        Counter.MANIFEST_HITS,
        Counter.MANIFEST_MISSES,
        Counter.PING_HITS,
    }
)
"""Counters of what the tallies of requests have, with more about it."""

FAMILIES = (
    BUILD,
    READY,
    PROBLEM,
    AUTHORITY_EXPIRY,
    AUTHORITY_WAITING,
    DOWNLOADS,
    WAITERS,
    CALLS,
    WAITING_CALLS,
    UNTRUSTING,
    OBJECTS,
    STORED,
    UNFINISHED,
    LIMIT,
    DISK_FREE,
    DISK_RESERVE,
    *COUNTERS,
    EVENTS,
)

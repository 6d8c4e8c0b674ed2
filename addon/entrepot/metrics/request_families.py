"""Families of what the records of requests add up to (``request_tallies``)."""

from entrepot.metrics.family import Family, Kind

FIRST_BYTE_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
"""Seconds; records have milliseconds."""


def _counter(name: str, meaning: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, meaning, labels)


REQUESTS = _counter(
    "entrepot_requests_total",
    "Requests that touched the cache, and tunnels to registries: of which registry, what for "
    "(manifest, index, blob, ping, token, tunnel...), and what became of it (hit, miss, "
    "collapsed, bypass, error, tunnel).",
    "registry",
    "kind",
    "outcome",
)
ANSWERS = _counter(
    "entrepot_answers_total",
    "The same requests by why they were answered so, and by the status that the client got.",
    "outcome",
    "reason",
    "code",
)
ROADS = _counter(
    "entrepot_road_requests_total",
    "The same requests by how the client came: proxy, transparent, mirror.",
    "road",
)
CONTENT = _counter(
    "entrepot_content_requests_total",
    "Requests for manifests and blobs that were answered with success.",
    "registry",
)
HITS = _counter(
    "entrepot_content_hits_total",
    "Those of them that the registry did not have to send. Their share is the hit ratio.",
    "registry",
)
SENT = _counter(
    "entrepot_sent_bytes_total",
    "Bytes of bodies sent to clients, by where they were: disk, upstream, memory.",
    "registry",
    "source",
)
RECEIVED = _counter(
    "entrepot_received_bytes_total",
    "Bytes of bodies that came from upstream for requests. Sent less received is what was saved.",
    "registry",
)
FIRST_BYTE = Family(
    "entrepot_first_byte_seconds",
    Kind.HISTOGRAM,
    "From a request to the head of its answer; of a tunnel, until it was open.",
    ("kind", "outcome"),
    FIRST_BYTE_BUCKETS,
)
HUB_PULLS = _counter(
    "entrepot_docker_hub_pulls_total",
    "Pulls as Docker Hub counts them: saved were answered here, spent counted there.",
    "result",
)

PROXY_REQUESTS = _counter(
    "registry_proxy_requests_total",
    "As distribution has it: GETs of blobs and manifests that were answered with success.",
    "type",
)
PROXY_HITS = _counter(
    "registry_proxy_hits_total", "As distribution has it: those that were answered here.", "type"
)
PROXY_MISSES = _counter(
    "registry_proxy_misses_total",
    "As distribution has it: those that were fetched from upstream.",
    "type",
)
PROXY_PULLED = _counter(
    "registry_proxy_pulled_bytes_total",
    "As distribution has it: bytes that came from upstream for them.",
    "type",
)
PROXY_PUSHED = _counter(
    "registry_proxy_pushed_bytes_total",
    "As distribution has it: bytes of them that were sent to clients.",
    "type",
)

AS_DISTRIBUTION = (PROXY_REQUESTS, PROXY_HITS, PROXY_MISSES, PROXY_PULLED, PROXY_PUSHED)
"""Names and meaning of distribution's registry/proxy/proxymetrics.go: HEAD is not counted."""

FAMILIES = (
    REQUESTS,
    ANSWERS,
    ROADS,
    CONTENT,
    HITS,
    SENT,
    RECEIVED,
    FIRST_BYTE,
    HUB_PULLS,
    *AS_DISTRIBUTION,
)

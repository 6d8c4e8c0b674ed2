"""What is counted and never logged, since it happens at every pull."""

from enum import Enum


class Counter(Enum):
    """Each counter's name, and what it counts. ``/healthz`` shows it in lower case.

    Events have a counter of their name too.
    """

    BLOB_HITS = "Blobs served from the disk."
    BLOB_MISSES = "Blobs that are fetched, and stored while they are served."
    BLOB_COLLAPSED = "Requests for a blob that follow the fetch of another client's."
    BLOB_RANGES = "Parts of blobs that were given as they came, ahead of the rest."
    BLOB_UNSTORED = "Blobs that are served from upstream and cannot be stored."
    BLOB_REHASHED = "Stored blobs that were hashed again before they were served."
    BLOB_SCRUBBED = "Stored blobs that were hashed again by the scrubber."
    MANIFEST_HITS = "Manifests served from the disk."
    MANIFEST_MISSES = "Manifests that were fetched and verified."
    EVICTED_BLOBS = "Blobs that gave way since the size limit, or the disk, had no room."
    EVICTED_MANIFESTS = "Manifests that gave way for the same."
    EVICTED_BYTES = "The bytes of both."
    PING_HITS = "Pings without a login that were answered from memory."
    PARALLEL_FETCHES = "Ranges of a large blob that were asked for beside its first connection."
    RESUMED_FETCHES = "Downloads that went on by Range after a break."
    UPSTREAM_REQUESTS = "Requests to registries, token servers and content networks."
    UPSTREAM_RETRIES = "Requests that were sent again after a failure that is likely to pass."
    UPSTREAM_ABANDONED = "Requests that were given up since no client waited for the answer."
    RATE_LIMITS = "Answers by which a registry limits the rate of pulls."
    PROBES_REFUSED = "Hosts that were not asked whether they are registries: too many were."
    CLIENT_LEFT = "Clients that broke off a transfer."
    RECORDS_DROPPED = "Records of requests that could not be written, or not fast enough."
    HANDSHAKE_FAILED = "TLS handshakes of clients that failed."
    HANDSHAKE_REFUSED = "TLS handshakes that clients broke off since they do not trust the CA."
    TUNNELLED_UNTRUSTING = (
        "Connections to registries that were tunnelled since their client does not trust the CA."
    )
    TUNNELLED_UNFIT = (
        "Connections to registries that were tunnelled since the host asks for certificates, or "
        "speaks no HTTP/1.1."
    )
    TUNNELLED_UNPERMITTED = (
        "Connections to registries that were tunnelled since the CA may not sign for the host."
    )

    def __init__(self, meaning: str) -> None:
        self.meaning = meaning
        self.label = self._name_.lower()
        """The name as it is shown."""

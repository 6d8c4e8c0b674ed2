"""The lines of the table: what is measured of whom, and what ours has to reach."""

from bench import measures, parts_rows
from bench.growth import growth
from bench.lines import Load, Row, at_least, at_most
from bench.peers import DIRECT, ENGINE, NETWORKS
from bench.watched import watched

SERVERS = ("entrepot", "nginx", "proxy_cache", "squid", "mirror")
PLAIN = ("entrepot", "nginx", "mirror")
FETCHING = ("entrepot", DIRECT, "proxy_cache", "squid", "mirror")


_MANY = "100,000 blobs and 20,000 manifests"


def _grown(title: str, figure: str) -> tuple[Row, Row]:
    """What is measured of a small store, and of a large one."""
    return (
        Row(f"{title}, 1,000 blobs", f"few_{figure}", "ms"),
        Row(
            f"the same, {_MANY}; ratio to that",
            f"many_{figure}",
            "ms",
            at_most(1.3, of_ratio=True),
            of=f"few_{figure}",
        ),
    )


LOADS = (
    Load(
        "warm",
        measures.warm(lambda sizes: sizes.blob),
        SERVERS,
        (
            Row("cached blob, 1 client", "speed", "GB/s", at_least(0.9, of_ratio=True)),
            Row("CPU of the server for it", "cpu", "s/GiB"),
        ),
        baseline="nginx",
    ),
    Load(
        "warm-8",
        measures.warm(lambda sizes: sizes.for_eight, 8),
        SERVERS,
        (Row("cached blob, 8 clients", "speed", "GB/s", at_least(0.9, of_ratio=True)),),
        baseline="nginx",
    ),
    Load(
        "warm-32",
        measures.warm(lambda sizes: sizes.for_many, 32),
        SERVERS,
        (Row("cached blob, 32 clients", "speed", "GB/s", at_least(0.9, of_ratio=True)),),
        baseline="nginx",
    ),
    Load(
        "mirror",
        measures.warm(lambda sizes: sizes.blob, plain=True),
        PLAIN,
        (
            Row(
                "cached blob over plain HTTP, 1 client; ratios to docker-registry",
                "speed",
                "GB/s",
                at_least(1, of_ratio=True),
            ),
            Row("CPU of the server for it", "cpu", "s/GiB"),
        ),
        baseline="mirror",
    ),
    Load(
        "mirror-8",
        measures.warm(lambda sizes: sizes.for_eight, 8, plain=True),
        PLAIN,
        (
            Row(
                "cached blob over plain HTTP, 8 clients; ratios to docker-registry",
                "speed",
                "GB/s",
                at_least(1, of_ratio=True),
            ),
            Row("CPU of the server for it", "cpu", "s/GiB"),
        ),
        baseline="mirror",
    ),
    Load(
        "transparent",
        measures.transparent,
        ("entrepot",),
        (
            Row("cached blob, 1 client in a network behind a gateway, by CONNECT", "speed", "GB/s"),
            Row("CPU of the server for it", "cpu", "s/GiB"),
            Row(
                "the same, redirected; ratio to CONNECT",
                "redirected_speed",
                "GB/s",
                at_least(0.95, of_ratio=True),
                of="speed",
            ),
            Row("CPU of the server for it", "redirected_cpu", "s/GiB", of="cpu"),
        ),
        needs=NETWORKS,
    ),
    Load(
        "cold",
        measures.cold(lambda sizes: sizes.blob),
        FETCHING,
        (
            Row("new blob, 1 client", "speed", "GB/s", at_least(0.6, of_ratio=True)),
            Row("CPU of the server for it", "cpu", "s/GiB"),
        ),
        baseline=DIRECT,
    ),
    Load(
        "cold-50",
        measures.cold(lambda sizes: sizes.for_many, 50),
        SERVERS,
        (
            Row("new blob, 50 clients at once", "seconds", "s", at_most(1.2, of_ratio=True)),
            Row("copies fetched from the origin for it", "origin_copies", "", at_most(1)),
        ),
        baseline="nginx",
    ),
    Load(
        "throttled",
        measures.throttled,
        ("entrepot", DIRECT),
        (
            Row(
                "new blob, origin sends 30 MB/s a connection",
                "speed",
                "GB/s",
                at_least(2, of_ratio=True),
            ),
        ),
        baseline=DIRECT,
    ),
    *parts_rows.LOADS,
    Load(
        "manifest",
        measures.manifest,
        SERVERS,
        (
            Row("cached manifest, kept connection, median", "p50", "ms", at_most(3)),
            Row("the same, by one core", "rate", "requests/s", at_least(400)),
        ),
    ),
    Load(
        "connection",
        measures.connection,
        SERVERS,
        (
            Row("cached manifest, new connection, median", "p50", "ms", at_most(2)),
            Row("CPU of the server for it", "cpu", "ms"),
        ),
    ),
    Load(
        "pull",
        measures.pull,
        SERVERS,
        (Row("`docker pull`, 300 MiB in 5 layers", "seconds", "s", at_most(1.05, of_ratio=True)),),
        baseline="nginx",
        needs=ENGINE,
    ),
    Load(
        "far",
        measures.far_pull,
        (DIRECT, "entrepot", "proxy_cache"),
        (
            Row("`docker pull`, 8 small layers, origin 50 ms away", "seconds", "s"),
            Row("requests to the origin for it", "origin_requests", ""),
        ),
        baseline=DIRECT,
        needs=ENGINE,
    ),
    Load(
        "away",
        measures.away,
        ("entrepot",),
        (
            Row("`docker pull`, 300 MiB in 5 layers, the origin there", "seconds", "s"),
            Row("the first when all packets to the origin are dropped", "first", "s"),
            Row(
                "those after it; ratio to the origin there",
                "after",
                "s",
                at_most(1.1, of_ratio=True),
                of="seconds",
            ),
        ),
        needs=ENGINE,
    ),
    Load(
        "grown",
        growth,
        ("entrepot",),
        (
            *_grown("cached manifest, median", "manifest_p50"),
            *_grown("99 of 100", "manifest_p99"),
            *_grown("cached small blob, median", "blob_p50"),
            *_grown("99 of 100", "blob_p99"),
            *_grown("a page of 100 repositories, median", "page_p50"),
            *_grown("a claim of room, median", "claim_p50"),
            Row("start until ready, 1,000 blobs", "few_start", "s"),
            Row(f"longer with {_MANY}", "start_more", "s", at_most(1)),
            Row("the same after a kill", "killed_start_more", "s", at_most(1)),
        ),
    ),
    Load(
        "watched",
        watched,
        ("entrepot",),
        (
            Row("cached manifest, kept connection, `--record none`", "kept_rate", "requests/s"),
            Row(
                "the same, recorded, the page open, scraped every second; ratio to that",
                "seen_kept_rate",
                "requests/s",
                at_least(0.97, of_ratio=True),
                of="kept_rate",
            ),
            Row("cached manifest, new connection, `--record none`", "new_rate", "requests/s"),
            Row(
                "the same, recorded, the page open, scraped every second; ratio to that",
                "seen_new_rate",
                "requests/s",
                at_least(0.97, of_ratio=True),
                of="new_rate",
            ),
            Row("more memory for that", "memory_more", "MiB", at_most(20)),
            Row("longer start with 1,000,000 requests on record", "start_more", "s", at_most(0.3)),
        ),
    ),
)

"""The lines of clients that read parts of blobs."""

from bench import parts
from bench.lines import Load, Row, at_most
from bench.peers import DIRECT

_LAZY = "origin 20 ms away at 30 MB/s a connection"

LOADS = (
    Load(
        "footer",
        parts.footer,
        (DIRECT, "entrepot", "proxy_cache"),
        (
            Row(
                f"the last 60 bytes of a new blob of 80 MiB, {_LAZY}",
                "seconds",
                "s",
                at_most(1.3, of_ratio=True),
            ),
        ),
        baseline=DIRECT,
    ),
    Load(
        "sixteen",
        parts.parallel(lambda sizes: sizes.blob, 16, 16),
        (DIRECT, "entrepot"),
        (
            Row(
                f"new blob of 1 GiB in 16 parts at once, {_LAZY}",
                "seconds",
                "s",
                at_most(1.1, of_ratio=True),
            ),
            Row("copies fetched from the origin for it", "origin_copies", "", at_most(1.01)),
            Row("CPU of the server for it", "cpu", "s"),
        ),
        baseline=DIRECT,
    ),
    Load(
        "spans",
        parts.parallel(lambda sizes: sizes.spans, 20, 20),
        (DIRECT, "entrepot"),
        (
            Row(
                f"new blob of 160 MiB in 20 parts at once (SOCI), {_LAZY}",
                "seconds",
                "s",
                at_most(1.1, of_ratio=True),
            ),
            Row("copies fetched from the origin for it", "origin_copies", "", at_most(1.01)),
        ),
        baseline=DIRECT,
    ),
    Load(
        "chunks",
        parts.chunks,
        (DIRECT, "entrepot", "proxy_cache"),
        (
            Row(
                f"200 chunks of 64 KiB of a new blob, 8 at once, {_LAZY}",
                "seconds",
                "s",
                at_most(1.3, of_ratio=True),
            ),
            Row("the same, cached", "warm_seconds", "s", at_most(0.3, of_ratio=True)),
        ),
        baseline=DIRECT,
    ),
    Load(
        "several",
        parts.several,
        (DIRECT, "entrepot"),
        (
            Row(
                f"100 ranges of a new blob by one request, {_LAZY}",
                "seconds",
                "s",
                at_most(1.3, of_ratio=True),
            ),
            Row("the same, cached", "warm_seconds", "s", at_most(1, of_ratio=True)),
        ),
        baseline=DIRECT,
    ),
    Load(
        "update",
        parts.update,
        (DIRECT, "entrepot"),
        (
            Row(
                f"a tenth of 57.6 MiB as podman asks, `--fill asked`, {_LAZY}",
                "seconds",
                "s",
                at_most(1.1, of_ratio=True),
            ),
            Row("fetched from the origin for it", "origin_mib", "MiB", at_most(1.1, of_ratio=True)),
        ),
        baseline=DIRECT,
    ),
)

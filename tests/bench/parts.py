"""Clients that read parts of a blob: each function returns raw figures by name.

The origin is 20 ms away and sends 30 MB/s on each connection. A client asks for the first byte, as
SOCI's and stargz's snapshotters do to learn where a redirect leads, and reads its ranges there.
"""

import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from bench.load import Way, fetch_ranges, resolve
from bench.measures import Figures, Measure, SizeOf
from bench.origin import Blob
from bench.peers import DIRECT, Ours, Peer
from bench.stage import Stage
from rig.images import KIB, MIB

FOOTER = 60
_CHUNK = 64 * KIB
_READERS = 8  # chunks at once
_FEW_BYTES = 4 * KIB  # of each range where one request has many
_RANGES = 100
_TOC = 200 * KIB

Stretch = tuple[int, int]
"""Half-open, in bytes."""


def footer(stage: Stage, key: str) -> Figures:
    """Read the last bytes of a blob that is not cached."""
    blob = stage.blob(stage.sizes.lazy)
    with stage.fresh(key, stage.origin.lazy) as peer:
        stage.touch(peer, stage.origin.lazy)
        return _read(stage, peer, blob, [[(blob.size - FOOTER, blob.size)]], at_once=1)


def parallel(size: SizeOf, parts: int, at_once: int) -> Measure:
    """Return what reads all of a blob that is not cached, in so many parts."""

    def measure(stage: Stage, key: str) -> Figures:
        blob = stage.blob(size(stage.sizes))
        step = -(-blob.size // parts)
        stretches = [[(start, min(blob.size, start + step))] for start in range(0, blob.size, step)]
        with stage.fresh(key, stage.origin.lazy) as peer:
            stage.touch(peer, stage.origin.lazy)
            return _read(stage, peer, blob, stretches, at_once)

    return measure


def chunks(stage: Stage, key: str) -> Figures:
    """Read chunks here and there, some at once; then the same when all of the blob is cached."""
    blob = stage.blob(stage.sizes.lazy)
    stretches = [[one] for one in _scattered(blob.size, stage.sizes.requests // 10, _CHUNK)]
    return _cold_and_warm(stage, key, blob, stretches)


def several(stage: Stage, key: str) -> Figures:
    """Read many small ranges by one request; then the same when all of the blob is cached."""
    blob = stage.blob(stage.sizes.lazy)
    return _cold_and_warm(stage, key, blob, [_scattered(blob.size, _RANGES, _FEW_BYTES)])


def update(stage: Stage, key: str) -> Figures:
    """Read what podman reads of a zstd:chunked layer of which a tenth has changed.

    Modelled on containers/storage (pkg/chunked), not recorded: the footer, the table of
    contents before it, and then the chunks that are not there yet by one request. What is not asked
    is not completed.
    """
    blob = stage.blob(stage.sizes.chunked)
    toc = max(0, blob.size - FOOTER - _TOC)
    changed = _scattered(toc, max(1, blob.size // 10 // _CHUNK), _CHUNK)
    end = blob.size - FOOTER
    stretches: list[Sequence[Stretch]] = [[(end, blob.size)], [(toc, end)], changed]
    if key == DIRECT:
        with stage.fresh(key, stage.origin.lazy) as peer:
            return _read(stage, peer, blob, stretches, at_once=1)
    with _asked(stage, key) as peer:
        stage.touch(peer, stage.origin.lazy)
        return _read(stage, peer, blob, stretches, at_once=1)


def _asked(stage: Stage, key: str) -> AbstractContextManager[Peer]:
    """Run ours so that it does not complete what is read in parts."""
    return stage.running(
        key, lambda folder, origin, _address: Ours(folder, origin, fill="asked"), stage.origin.lazy
    )


def _cold_and_warm(
    stage: Stage, key: str, blob: Blob, stretches: Sequence[Sequence[Stretch]]
) -> Figures:
    address = stage.origin.lazy
    with stage.fresh(key, address) as peer:
        stage.touch(peer, address)
        cold = _read(stage, peer, blob, stretches, _READERS)
        if key != DIRECT:
            stage.heat(peer, address.url(blob.path), blob.size)
        warm = _read(stage, peer, blob, stretches, _READERS)
    return {**cold, **{f"warm_{name}": figure for name, figure in warm.items()}}


def _read(
    stage: Stage, peer: Peer, blob: Blob, stretches: Sequence[Sequence[Stretch]], at_once: int
) -> Figures:
    """Read each request's stretches, so many requests at once."""
    mark, before = stage.origin.mark(), peer.cpu_seconds()
    start = time.monotonic()
    _ranges(peer.way, stage.origin.lazy.url(blob.path), stretches, at_once)
    seconds = time.monotonic() - start
    cpu = peer.cpu_seconds() - before
    seen = stage.origin.requests(mark)
    return {
        "seconds": seconds,
        "cpu": cpu,
        "origin_mib": seen.blob_bytes / MIB,
        "origin_copies": seen.blob_bytes / blob.size,
        "origin_requests": len(seen.blob_gets),
    }


def _ranges(way: Way, url: str, stretches: Sequence[Sequence[Stretch]], at_once: int) -> None:
    if len(stretches) > 1:
        url = resolve(way, url)
    fetch_ranges(way, url, stretches, at_once=at_once)


def _scattered(size: int, count: int, length: int) -> list[Stretch]:
    """Return stretches that do not touch, ordered, at places that depend on nothing but these."""
    length = min(length, size // (2 * count) or 1)
    slot = size // count
    chosen = random.Random(f"{size} {count}")  # noqa: S311 - the same places in each round
    return [
        (start, start + length)
        for start in (
            number * slot + chosen.randrange(max(1, slot - length - 1)) for number in range(count)
        )
    ]

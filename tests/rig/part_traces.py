"""What clients that read parts of a blob ask for, as their sources have it: one trace a client.

Where the client itself can be had, `tests/e2e` runs it; a trace needs neither root nor its images,
and says at the socket which request went wrong. Sizes are those of the clients' defaults.
"""

import email
import email.policy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from rig.client import Stream
from rig.images import KIB, MIB

Open = Callable[[str, Mapping[str, str]], Stream]
"""Sends a request for the blob, given its method and fields."""
Span = tuple[int, int | None]
"""The first byte and the one after the last (None: to the end)."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request; without ranges it is for the whole. It is left after `reads` bytes."""

    spans: tuple[Span, ...] = ()
    method: str = "GET"
    reads: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        ranges = (f"{a}-{'' if b is None else b - 1}" for a, b in self.spans)
        return {"Range": f"bytes={','.join(ranges)}"} if self.spans else {}


@dataclass(frozen=True, slots=True)
class Trace:
    """The rounds of requests of one client for one blob; those of a round are sent at once."""

    client: str
    source: str
    """File and function, and the version that was read."""
    rounds: Callable[[int], Sequence[Sequence[Ask]]] = field(repr=False)
    """Given the size of the blob."""
    most_at_once: int = 8

    def replay(self, body: bytes, opened: Open) -> None:
        """Make all requests, and see that each answer is one that the client takes."""
        with ThreadPoolExecutor(self.most_at_once) as pool:
            for asks in self.rounds(len(body)):
                for _ in pool.map(lambda ask: _answered(ask, body, opened), asks):
                    pass  # raises what went wrong


def _answered(ask: Ask, body: bytes, opened: Open) -> None:
    spans = [(a, len(body) if b is None else b) for a, b in ask.spans]
    with opened(ask.method, ask.headers) as stream:
        if not spans:
            assert stream.status == 200
            assert stream.headers["Content-Length"] == str(len(body))
            if ask.method == "GET":
                assert stream.read() == body
            return
        assert stream.status == 206
        # SOCI's FetchRange, fs/artifact_fetcher.go: without it no parts are asked for.
        assert stream.headers["Accept-Ranges"] == "bytes"
        if len(spans) > 1:
            assert _parts(stream) == [(_said(span, body), body[slice(*span)]) for span in spans]
            return
        ((start, stop),) = spans
        assert stream.headers["Content-Range"] == _said((start, stop), body)
        stop = stop if ask.reads is None else min(stop, start + ask.reads)
        assert stream.read(stop - start) == body[start:stop]


def _said(span: tuple[int, int], body: bytes) -> str:
    return f"bytes {span[0]}-{span[1] - 1}/{len(body)}"


def _parts(stream: Stream) -> list[tuple[str, bytes]]:
    """The parts of a multipart body, as Go's mime/multipart and others read one."""
    head = f"Content-Type: {stream.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + stream.read(), policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/byteranges"
    found = []
    for part in message.iter_parts():
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found.append((part["Content-Range"], payload))
    return found


_FIRST_BYTES = Ask(((0, 2),))
_STARGZ_CHUNK = 50_000


def _stargz(size: int) -> list[list[Ask]]:
    """Where is it, how large; footer, table of contents; what is read, whole chunks of it."""

    def chunks(start: int, stop: int) -> Span:
        first, last = start // _STARGZ_CHUNK, -(-stop // _STARGZ_CHUNK)
        return first * _STARGZ_CHUNK, min(size, last * _STARGZ_CHUNK)

    footer = chunks(size - 51, size)
    toc = (chunks(size - 51 - 180 * KIB, size)[0], footer[0])
    files = [chunks(at, at + 20 * KIB) for at in range(2 * MIB, size - MIB, size // 7)]
    apart = (chunks(20 * _STARGZ_CHUNK, 21 * _STARGZ_CHUNK), chunks(1_100_000, 1_150_000))
    return [
        [_FIRST_BYTES],
        [Ask(method="HEAD")],
        [Ask((footer,))],
        [Ask((toc,))],
        [Ask((chunks(0, MIB - 1),))],
        [*(Ask((one,)) for one in files), Ask(apart)],  # between these a chunk is there already
        [_FIRST_BYTES],
    ]


def _soci(size: int) -> list[list[Ask]]:
    """Two spans that a program reads; then, by the background fetcher, the next ones in turn."""
    spans = [(at, min(size, at + 4 * MIB - 77)) for at in range(10, size, 4 * MIB - 77)]
    later = [[Ask((span,))] for span in (spans[0], spans[1])]
    return [[_FIRST_BYTES], [Ask((spans[-1],)), Ask((spans[2],))], *later]


def _soci_parallel(size: int) -> list[list[Ask]]:
    parts = [Ask(((at, min(size, at + 8 * MIB)),)) for at in range(0, size, 8 * MIB)]
    return [[_FIRST_BYTES], parts]


def _nydus(size: int) -> list[list[Ask]]:
    """Size, table of contents, chunk map; then reads made up to 1 MiB, and eight prefetchers."""
    parts = [Ask(((at, at + MIB),)) for at in range(0, 8 * MIB, MIB)]
    return [
        [Ask(method="HEAD")],
        [Ask(((size - 4 * KIB, size),))],
        [Ask(((size - 300 * KIB, size - 5 * KIB),))],
        [Ask(((9 * MIB + 13, 10 * MIB + 13),)), *parts],
    ]


def _containerd(size: int) -> list[list[Ask]]:
    """Ranges without an end, each left after 8 MiB."""
    first, *others = range(0, size, 8 * MIB)
    return [
        [Ask(((first, None),), reads=8 * MIB)],
        [Ask(((at, None),), reads=8 * MIB) for at in others],
    ]


def _containers_storage(size: int) -> list[list[Ask]]:
    """Table of contents and tar-split, 8 bytes apart; then the chunks that are not there yet."""
    toc = (size - 200 * KIB, size - 120 * KIB)
    split = (toc[1] + 8, size - 72)
    step = size // 120
    missing = tuple((at, at + min(step - 1025, 20_000)) for at in range(0, toc[0] - step, step))
    return [[Ask((toc, split))], [Ask(missing)], [Ask((*missing[:20], (size - 64, None)))]]


TRACES = (
    Trace(
        "stargz-snapshotter",
        "containerd/stargz-snapshotter v0.18.2, fs/remote/resolver.go (redirect, getSize, fetch,"
        " check), fs/remote/blob.go (ReadAt), estargz/estargz.go (Open)",
        _stargz,
    ),
    Trace(
        "soci-snapshotter, lazily",
        "awslabs/soci-snapshotter v0.4.1, fs/remote/resolver.go, fs/remote/blob.go (ReadAt),"
        " fs/span-manager/span_manager.go (FetchSingleSpan), cmd/soci/commands/create.go (4 MiB)",
        _soci,
    ),
    Trace(
        "soci-snapshotter, pulling in parallel",
        "awslabs/soci-snapshotter v0.15.0, fs/artifact_fetcher.go (doInitialFetch, FetchRange),"
        " docs/parallel-mode.md (8 MiB by 20)",
        _soci_parallel,
        20,
    ),
    Trace(
        "nydusd",
        "dragonflyoss/nydus v2.4.4, storage/src/backend/registry.rs (blob_size, try_read),"
        " storage/src/meta/toc.rs (read_from_blob), api/src/config.rs (1 MiB, 8 threads)",
        _nydus,
    ),
    Trace(
        "containerd 2",
        "containerd/containerd v2.3.4, core/remotes/docker/fetcher.go (open)",
        _containerd,
        6,
    ),
    Trace(
        "podman, buildah, CRI-O with partial images",
        "containers/container-libs storage/v1.62.0, image/docker/docker_image_src.go (GetBlobAt,"
        " handle206Response), storage/pkg/chunked/storage_linux.go (mergeMissingChunks),"
        " storage/pkg/chunked/compression_linux.go (readZstdChunkedManifest)",
        _containers_storage,
    ),
)

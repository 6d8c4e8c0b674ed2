"""A data folder to look at: images as people pull them, and the requests of some weeks.

Layers have their real sizes and no content: each is a file that is nothing but a hole. So hundreds
of gigabytes take no room; nothing of it can be pulled. The same seed makes the same folder, but for
the times, which end at `now`.
"""

import json
import math
import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from diskcache.core import MODE_BINARY, MODE_RAW

from entrepot.control.administration import Administration
from entrepot.events.log import Events
from entrepot.observe.outcome import Outcome
from entrepot.observe.record_store import RecordStore
from entrepot.observe.request_record import RequestRecord, Road
from entrepot.observe.retention import Retention
from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.protocol.manifests import listed_digests
from entrepot.storage.diskcache_db import keys, listed_descriptors
from entrepot.storage.diskcache_db.index_rows import INDEX_SECONDS
from entrepot.storage.store import Store

GIB = 1024**3
MIB = 1024**2
DAY = 86400.0
_LIMIT = 1 << 46
"""Of the store that is made: nothing is to be evicted from it."""
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the folder; images with the same `base` share its layers."""

    registry: str
    name: str
    tags: tuple[str, ...]
    base: str
    sizes: tuple[int, ...]
    """Of its own layers, in MiB."""
    weight: float = 1.0
    """How often it is pulled, compared with others."""
    platform: str = "amd64"


_HUB = "https://registry-1.docker.io"
_GHCR = "https://ghcr.io"
_QUAY = "https://quay.io"
_K8S = "https://registry.k8s.io"
_OWN = "https://registry.corp.example"

IMAGES = (
    Image(_HUB, "library/debian", ("12", "bookworm"), "debian", (), 5),
    Image(_HUB, "library/node", ("22", "22-bookworm"), "debian", (24, 64, 211, 48), 14),
    Image(_HUB, "library/python", ("3.13", "3.13-bookworm"), "debian", (24, 64, 211, 23), 12),
    Image(_HUB, "library/golang", ("1.25",), "debian", (24, 92, 71), 6),
    Image(_HUB, "library/alpine", ("3", "3.22", "latest"), "alpine", (), 18),
    Image(_HUB, "library/nginx", ("1.29", "stable"), "debian", (43, 1), 7),
    Image(_HUB, "library/redis", ("8", "8-alpine"), "alpine", (14, 1), 6),
    Image(_HUB, "library/postgres", ("17",), "debian", (12, 116), 5),
    Image(_HUB, "library/postgres", ("16",), "debian", (12, 112), 1.5),
    Image(_HUB, "grafana/grafana", ("12.1.0",), "alpine", (36, 141, 12), 2),
    Image(_HUB, "library/rabbitmq", ("4-management",), "ubuntu", (22, 51, 14), 1),
    Image(_HUB, "library/docker", ("28-dind",), "alpine", (68, 33), 4),
    Image(_HUB, "tensorflow/tensorflow", ("2.19.0-gpu",), "ubuntu", (612, 2240, 410), 0.4),
    Image(_GHCR, "acme/storefront", ("1.42.0", "main"), "debian", (64, 88, 31), 16),
    Image(_GHCR, "acme/storefront", ("1.41.3",), "debian", (64, 88, 30), 3),
    Image(_GHCR, "acme/checkout", ("7.3.1", "main"), "debian", (64, 42), 9),
    Image(_GHCR, "acme/worker", ("2025.11.4",), "debian", (64, 121), 6),
    Image(_GHCR, "acme/worker", ("2025.11.4-arm64",), "debian", (61, 118), 2, "arm64"),
    Image(_GHCR, "astral-sh/uv", ("0.9", "python3.13-bookworm"), "debian", (24, 19), 5),
    Image(_QUAY, "prometheus/prometheus", ("v3.7.0",), "busybox", (58, 54), 2),
    Image(_QUAY, "jetstack/cert-manager-controller", ("v1.19.0",), "distroless", (22,), 1.5),
    Image(_QUAY, "cilium/cilium", ("v1.18.2",), "ubuntu", (96, 143, 11), 2),
    Image(_K8S, "kube-apiserver", ("v1.34.1",), "distroless", (27,), 1),
    Image(_K8S, "coredns/coredns", ("v1.12.4",), "distroless", (18,), 1.5),
    Image(_K8S, "pause", ("3.10.1",), "distroless", (), 3),
    Image(_OWN, "ml/embedding-service", ("0.18",), "ubuntu", (612, 880, 96), 2),
    Image(_OWN, "ci/builder", ("2025-11", "latest"), "debian", (24, 310, 205), 11),
)
_BASES = {"debian": (47, 1), "alpine": (4,), "ubuntu": (29,), "busybox": (2,), "distroless": (1,)}
PINNED = ("ghcr.io/acme/storefront:1.42.0", "registry.corp.example/ci/builder:latest")

CLIENTS = (
    ("10.20.1.11", "docker/28.5.1 go/go1.24.8", 9.0),
    ("10.20.1.12", "docker/28.5.1 go/go1.24.8", 7.0),
    ("10.20.1.13", "containerd/2.1.4", 6.0),
    ("10.20.2.40", "buildkit/v0.25", 8.0),
    ("10.20.2.41", "containerd/2.1.4", 4.0),
    ("10.20.2.77", "containers/5.36.2 (github.com/containers/image)", 2.5),
    ("10.20.3.5", "containerd/1.7.28", 2.0),
    ("fd12:3456:789a::17", "skopeo/1.20.0", 0.6),
)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much there is: so many copies of each image under other names, and so many pulls."""

    copies: int = 1
    pulls: int = 16_000
    days: float = 30.0


DEMO = Scale()


@dataclass(frozen=True, slots=True)
class _Object:
    """A manifest (its bytes) or a blob (its size, or its bytes)."""

    digest: Digest
    media_type: str
    size: int
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Made:
    image: Image
    manifest: _Object
    parts: tuple[_Object, ...]

    @property
    def repository(self) -> Repository:
        return Repository(Origin.parse(self.image.registry), self.image.name)


def make_demo(data: Path, now: float, scale: Scale = DEMO, seed: int = 7) -> None:
    """Make the folder, with its records."""
    chance = random.Random(seed)  # noqa: S311 it makes a picture
    Store(data, _LIMIT).close()
    made = [_make(image, copy) for image in IMAGES for copy in range(scale.copies)]
    used = {one: now - chance.expovariate(one.image.weight / (2.2 * DAY)) for one in made}
    _write(data, made, used, now)
    with closing(Store(data, _LIMIT)) as store:
        store.recover(lambda function: function(), lambda: None)
        administration = Administration(store, lambda function: function(), Events())
        administration.answer({"do": "pin", "names": list(PINNED)})
    _record(data, made, now, scale, chance)


# Images


def _make(image: Image, copy: int) -> _Made:
    if copy:
        image = replace(image, name=f"{image.name}-{copy:04}")
    layers = [
        *(_layer(f"{image.base} {n}", size) for n, size in enumerate(_BASES[image.base])),
        *(_layer(f"{image.base} {size} {n} {copy}", size) for n, size in enumerate(image.sizes)),
    ]
    config = json.dumps(
        {"os": "linux", "architecture": image.platform, "of": f"{image.name} {image.tags}"}
    ).encode()
    settings = _Object(Digest.of(config), _CONFIG, len(config), config)
    document = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor(settings),
        "layers": [_descriptor(layer) for layer in layers],
    }
    content = json.dumps(document).encode()
    manifest = _Object(Digest.of(content), _MANIFEST, len(content), content)
    return _Made(image, manifest, (settings, *layers))


def _layer(name: str, mib: int) -> _Object:
    size = int(mib * MIB * (1 + sum(name.encode()) % 97 / 1000))
    return _Object(Digest.of(name.encode()), _LAYER, size)


def _descriptor(one: _Object) -> dict[str, object]:
    return {"mediaType": one.media_type, "digest": str(one.digest), "size": one.size}


def _write(data: Path, made: list[_Made], used: dict[_Made, float], now: float) -> None:
    for number in range(256):
        (data / "blobs" / f"{number:02x}" / "00").mkdir(parents=True, exist_ok=True)
    blobs: dict[str, tuple[object, ...]] = {}
    index: dict[str, tuple[object, ...]] = {}
    for one in made:
        at, origin = used[one], one.repository.origin
        stored = at - 3 * DAY
        for part in one.parts:
            key = keys.blob(part.digest)
            if key not in blobs or at > blobs[key][3]:  # type: ignore[operator]
                blobs[key] = _blob_row(data / "blobs", part, stored, at)
        listed = listed_descriptors.encode(listed_digests(one.manifest.content or b""))
        tag = json.dumps({"type": _MANIFEST, "stored": stored, "listed": listed})
        key = keys.manifest(origin, one.manifest.digest)
        blobs[key] = (key, stored, None, at, tag, 0, MODE_RAW, None, one.manifest.content)
        for key, value in _known(one, now):
            index[key] = (key, now, now + INDEX_SECONDS, now, None, 0, MODE_RAW, None, value)
    _insert(data / "blobs", list(blobs.values()))
    _insert(data / "index", list(index.values()))


def _blob_row(folder: Path, part: _Object, stored: float, used: float) -> tuple[object, ...]:
    digits = part.digest.hex
    name = f"{digits[:2]}/00/{digits[2:30]}.val"
    file = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        if part.content is not None:
            os.write(file, part.content)
        else:
            os.ftruncate(file, part.size)
        state = os.fstat(file)
    finally:
        os.close(file)
    identity = [state.st_ino, state.st_mtime_ns, state.st_ctime_ns]
    tag = {"type": part.media_type, "size": part.size, "file": identity, "verified": stored}
    row = (keys.blob(part.digest), stored, None, used, json.dumps(tag), part.size)
    return (*row, MODE_BINARY, name, None)


def _known(one: _Made, now: float) -> Iterator[tuple[str, str]]:
    for part in (one.manifest, *one.parts):
        yield keys.link(one.repository, part.digest), "1"
        yield keys.held(one.repository.origin, part.digest), "1"
        yield keys.given(one.repository, part.digest, ANYONE), repr(now)
    yield keys.shown(one.repository, ANYONE, one.manifest.digest), repr(now)
    for tag in one.image.tags:
        entry = {"*/*": {"digest": str(one.manifest.digest), "checked": now}}
        yield keys.tag(one.repository, tag), json.dumps(entry)


def _insert(database: Path, rows: list[tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(database / "cache.db")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            connection.executemany(
                "INSERT OR REPLACE INTO Cache (key, raw, store_time, expire_time, access_time, tag,"
                " size, mode, filename, value) VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )


# Records


def _record(data: Path, made: list[_Made], now: float, scale: Scale, chance: random.Random) -> None:
    store = RecordStore(
        data, Events(), Retention(365 * DAY, 8 * GIB), clock=lambda: 0.0, wall=lambda: now
    )
    pulls = sorted(_times(now, scale, chance))
    fetched: set[tuple[str, str]] = set()
    weights = [one.image.weight for one in made]
    batch: list[RequestRecord] = []
    for at in pulls:
        (one,) = chance.choices(made, weights)
        client, agent, _ = chance.choices(CLIENTS, [c[2] for c in CLIENTS])[0]
        batch += _pull(one, at, client, agent, fetched, chance)
        if len(batch) > 5000:
            store.write(sorted(batch, key=lambda record: record.at))
            batch = []
    store.write(sorted(batch, key=lambda record: record.at))
    store.close()


def _times(now: float, scale: Scale, chance: random.Random) -> Iterator[float]:
    """More by day than by night, more in the week than at its end."""
    count = 0
    while count < scale.pulls:
        ago = chance.random() ** 1.15 * scale.days * DAY
        at = now - ago
        hour, day = (at % DAY) / 3600, int(at // DAY + 3) % 7
        likely = 0.22 + 0.78 * math.exp(-(((hour - 13.5) / 4.6) ** 2))
        if chance.random() < likely * (0.35 if day >= 5 else 1.0):
            count += 1
            yield at


def _pull(
    one: _Made,
    at: float,
    client: str,
    agent: str,
    fetched: set[tuple[str, str]],
    chance: random.Random,
) -> Iterator[RequestRecord]:
    registry = "docker.io" if one.image.registry == _HUB else one.image.registry[8:]
    plain = RequestRecord(
        at, client, agent, Road.PROXY, registry, "manifest", one.image.name, one.image.tags[0],
        "HEAD", 200, "hit; detail=revalidated", Outcome.HIT,
        "the registry said by HEAD that the tag is what is held", "", 0, 0, 0,
        chance.randint(18, 90), 0,
    )  # fmt: skip
    if chance.random() < 0.012:
        yield replace(
            plain, status=502, outcome=Outcome.ERROR, answered="detail=error",
            why="the registry answered 503", total_ms=chance.randint(900, 4000),
        )  # fmt: skip
        return
    if chance.random() < 0.02:
        size = chance.randint(8, 90) * MIB
        yield replace(
            plain, kind="tunnel", repository="", reference="", method="CONNECT", answered="",
            outcome=Outcome.TUNNEL, why="this client does not trust the CA", sent=size,
            from_upstream=size, total_ms=chance.randint(2000, 9000),
        )  # fmt: skip
        return
    yield replace(plain, total_ms=plain.first_byte_ms)
    yield _content(plain, one.manifest, "manifest", fetched, chance, at + 0.1)
    for number, part in enumerate(one.parts):
        if chance.random() < 0.55 or number < 2:
            yield _content(plain, part, "blob", fetched, chance, at + 0.2 + number / 10)


def _content(
    plain: RequestRecord,
    part: _Object,
    kind: str,
    fetched: set[tuple[str, str]],
    chance: random.Random,
    at: float,
) -> RequestRecord:
    key = (plain.registry, str(part.digest))
    # What was evicted meanwhile, or changed upstream, is fetched again.
    held = key in fetched and chance.random() > 0.045
    fetched.add(key)
    here = replace(
        plain, at=at, kind=kind, reference=str(part.digest), method="GET", sent=part.size
    )
    first = chance.randint(1, 5)
    if held:
        return replace(
            here, answered="hit", outcome=Outcome.HIT,
            why="held, and the registry allowed it to this client lately", from_disk=part.size,
            first_byte_ms=first, total_ms=first + part.size // 900_000,
        )  # fmt: skip
    slow = first * 30
    return replace(
        here, answered="fwd=miss; stored", outcome=Outcome.MISS, why="not held, or changed",
        from_upstream=part.size, first_byte_ms=slow, total_ms=slow + part.size // 38_000,
    )  # fmt: skip


def scale_of(images: int, requests: int) -> Scale:
    """So many images and requests, about; of a month, or two where there are more."""
    return Scale(max(1, images // len(IMAGES)), requests // 5, 30.0 if requests < 10**6 else 60.0)


def make(data: Path, now: float, *, images: int, requests: int) -> None:
    """A folder as large as that, to measure."""
    make_demo(data, now, scale_of(images, requests))

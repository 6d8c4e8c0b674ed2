"""A data folder as it is after years: many small blobs, manifests and repositories.

Made by a few large transactions into what the store itself laid out, so that 100,000 blobs take
seconds. Every object has its right bytes and is known to have been given to anybody: a proxy with
`--offline` serves all of it.
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from diskcache.core import MODE_BINARY, MODE_RAW

from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.protocol.manifests import listed_digests
from entrepot.storage.diskcache_db import keys, listed_descriptors
from entrepot.storage.diskcache_db.index_rows import INDEX_SECONDS
from entrepot.storage.store import Store

_TYPE = "application/octet-stream"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
LIMIT = 1 << 40
_FOLDERS = 256
"""diskcache's random names would fill 65,536 of them, which takes longer than the files."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much a folder holds; blobs and manifests are shared out over the repositories."""

    blobs: int
    manifests: int
    repositories: int


FEW = Scale(1_000, 2_000, 200)
MANY = Scale(100_000, 20_000, 2_000)


@dataclass(frozen=True, slots=True)
class Made:
    """One object of the folder."""

    repository: Repository
    digest: Digest
    content: bytes

    @property
    def kind(self) -> str:
        return "manifests" if self.content.startswith(b"{") else "blobs"

    @property
    def path(self) -> str:
        return f"/v2/{self.repository.name}/{self.kind}/{self.digest}"


def grow(data: Path, origin: Origin, scale: Scale) -> list[Made]:
    """Fill a folder; everything in it."""
    data.parent.mkdir(parents=True, exist_ok=True)
    Store(data, LIMIT).close()
    made = [*_blobs(origin, scale)]
    made += _manifests(origin, scale, made)
    for number in range(_FOLDERS):
        (data / "blobs" / f"{number:02x}" / "00").mkdir(parents=True)
    now = time.time()
    _insert(data / "blobs", [_object(data / "blobs", one, now) for one in made])
    _insert(data / "index", _known(made, now))
    with closing(Store(data, LIMIT)) as store:  # now it knows that nothing is to be put right
        store.recover(lambda function: function(), lambda: None)
    return made


def _repository(origin: Origin, scale: Scale, number: int) -> Repository:
    return Repository(origin, f"team/app{number % scale.repositories:06}")


def _blobs(origin: Origin, scale: Scale) -> Iterator[Made]:
    for number in range(scale.blobs):
        content = f"blob {number}".encode()
        yield Made(_repository(origin, scale, number), Digest.of(content), content)


def _manifests(origin: Origin, scale: Scale, blobs: list[Made]) -> Iterator[Made]:
    each: dict[Repository, list[Made]] = {}
    for blob in blobs:
        each.setdefault(blob.repository, []).append(blob)
    for number in range(scale.manifests):
        repository = _repository(origin, scale, number)
        own = each[repository]
        first = number // scale.repositories
        layers = [own[(first + other) % len(own)] for other in range(10)]
        document = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST_TYPE,
            "config": _descriptor(layers[0]),
            "layers": [_descriptor(layer) for layer in layers],
            "annotations": {"number": str(number)},
        }
        content = json.dumps(document).encode()
        yield Made(repository, Digest.of(content), content)


def _descriptor(blob: Made) -> dict[str, object]:
    return {"mediaType": _TYPE, "digest": str(blob.digest), "size": len(blob.content)}


def _object(folder: Path, made: Made, now: float) -> tuple[object, ...]:
    if made.kind == "manifests":
        listed = listed_descriptors.encode(listed_digests(made.content))
        tag = {"type": _MANIFEST_TYPE, "stored": now, "listed": listed}
        key = keys.manifest(made.repository.origin, made.digest)
        return (key, now, None, now, json.dumps(tag), 0, MODE_RAW, None, made.content)
    digits = made.digest.hex
    name = f"{digits[:2]}/00/{digits[2:30]}.val"
    file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(file, made.content)
    state = os.fstat(file)
    os.close(file)
    identity = [state.st_ino, state.st_mtime_ns, state.st_ctime_ns]
    tag = {"type": _TYPE, "size": state.st_size, "file": identity, "verified": now}
    size = state.st_size
    return (keys.blob(made.digest), now, None, now, json.dumps(tag), size, MODE_BINARY, name, None)


def _known(made: list[Made], now: float) -> Iterator[tuple[object, ...]]:
    expires = now + INDEX_SECONDS

    def row(key: str, value: str) -> tuple[object, ...]:
        return (key, now, expires, now, None, 0, MODE_RAW, None, value)

    for number, one in enumerate(made):
        yield row(keys.link(one.repository, one.digest), "1")
        yield row(keys.held(one.repository.origin, one.digest), "1")
        yield row(keys.given(one.repository, one.digest, ANYONE), repr(now))
        if one.kind == "manifests":
            yield row(keys.shown(one.repository, ANYONE, one.digest), repr(now))
            entry = {"*/*": {"digest": str(one.digest), "checked": now}}
            yield row(keys.tag(one.repository, f"v{number}"), json.dumps(entry))


def _insert(database: Path, values: Iterable[tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(database / "cache.db")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        with connection:
            connection.executemany(
                "INSERT OR REPLACE INTO Cache (key, raw, store_time, expire_time, access_time, tag,"
                " size, mode, filename, value) VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )

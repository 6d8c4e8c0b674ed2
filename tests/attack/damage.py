"""Damage at rest: what the tests of it store, and how they change it behind the proxy's back."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from rig.client import Client
from rig.faults import FaultServer
from rig.images import KIB, Image, incompressible
from rig.process import eventually
from rig.proxy import Entrepot

FAULT = "https://fault.example.test"

Damage = Callable[[Path], object]


def content(seed: str, size: int = 300 * KIB) -> bytes:
    return b"".join(incompressible(seed, size))


def add(faults: FaultServer, seed: str, size: int = 300 * KIB) -> tuple[str, bytes]:
    """A blob upstream: its URL and its bytes."""
    body = content(seed, size)
    return FAULT + faults.add_blob("app", body)[0], body


def store(entrepot: Entrepot, client: Client, *urls: str) -> None:
    """Pull blobs, and wait until they are committed."""
    want = entrepot.counter("blob_stored") + len(urls)
    for url in urls:
        client.get(url)
    eventually(lambda: entrepot.counter("blob_stored") >= want, what=f"{want} stored")


def pulls(client: Client, image: Image) -> bool:
    """Whether an image of the fault server comes whole."""
    base = f"{FAULT}/v2/app"
    manifest = client.manifest(f"{base}/manifests/1")
    blobs = [client.get(f"{base}/blobs/{blob.digest}") for blob in image.blobs]
    return manifest.body == image.root.body and all(
        answer.body == blob.read() for answer, blob in zip(blobs, image.blobs, strict=True)
    )


def file_of(entrepot: Entrepot, body: bytes) -> Path:
    """The file in which a blob is stored."""
    (file,) = (
        path
        for path in entrepot.data.glob("blobs/??/??/*.val")
        if path.stat().st_size == len(body) and path.read_bytes() == body
    )
    return file


def change(database: Path, sql: str, *values: object) -> None:
    """Change rows behind the proxy's back."""
    with closing(sqlite3.connect(database / "cache.db", timeout=10)) as connection:
        connection.execute(sql, values)
        connection.commit()


def flip(path: Path, at: int = -1) -> None:
    """Turn one bit; the length stays."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def counters(entrepot: Entrepot) -> Counter[str]:
    return Counter(json.loads(entrepot.local("/healthz").body)["counters"])


def damage_lines(entrepot: Entrepot) -> list[str]:
    return re.findall(r" object_damaged digest=sha256:.*", entrepot.log)


def files(entrepot: Entrepot) -> int:
    return len(list(entrepot.data.glob("blobs/??/??/*.val")))

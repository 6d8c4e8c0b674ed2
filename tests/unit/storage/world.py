"""A store of a test's own: what is put into it, read from it, and done behind its back."""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.storage.store import Store

LIMIT = 10 * 1024 * 1024
TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
REGISTRY = Origin("https", "registry.example.test", 443)
OTHER_REGISTRY = Origin("https", "other.example.test", 443)
APP = Repository(REGISTRY, "team/app")
SIBLING = Repository(REGISTRY, "team/sibling")
STRANGER = Repository(OTHER_REGISTRY, "team/app")
DATA = b"layer" * 1000
DIGEST = Digest.of(DATA)
DAY = 24 * 3600.0


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def deliver(
    store: Store, repository: Repository, content: bytes = DATA, *, public: bool = False
) -> Digest:
    """Commit a blob as a finished download from ``repository`` does."""
    digest = Digest.of(content)
    path = store.partials.download(repository.origin, digest)
    path.write_bytes(content)
    store.blobs.commit(path, repository, digest, TYPE, given_to=ANYONE if public else None)
    return digest


def content(store: Store, repository: Repository, digest: Digest = DIGEST) -> bytes | None:
    """The bytes that the store would give for ``repository``."""
    found = store.blobs.find(repository, digest)
    if found is None:
        return None
    try:
        return os.pread(found.file, found.size + 1, 0)
    finally:
        os.close(found.file)


def linked(store: Store, repository: Repository, digest: Digest = DIGEST) -> bool | None:
    """Whether the store knows that ``repository`` has the blob; None where it gives nothing."""
    found = store.blobs.find(repository, digest)
    if found is None:
        return None
    os.close(found.file)
    return found.linked


def write(database: Path, sql: str, *values: object) -> None:
    """Change a database behind the store's back."""
    connection = sqlite3.connect(database / "cache.db")
    with connection:
        connection.execute(sql, values)
    connection.close()


def killed(folder: Path) -> None:
    """Let the last end have been none in order."""
    (folder / "clean").unlink()


def recover(store: Store) -> None:
    """What the upkeep does after a start, at once."""
    store.recover(lambda function: function(), lambda: None)


def value_files(folder: Path) -> list[Path]:
    return list((folder / "blobs").glob("??/??/*.val"))


def rows_of(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "blobs" / "cache.db")) as connection:
        ((count,),) = connection.execute("SELECT COUNT(*) FROM Cache").fetchall()
    return int(count)

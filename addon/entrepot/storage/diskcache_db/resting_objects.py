"""Blobs and manifests at rest: looked at without counting as use, and set aside where damaged.

For who verifies what is stored, object by object (``digest_check``). A damaged one is moved to the
folder ``quarantine`` of the data folder, for who wants to know what became of it, and its row goes:
so the next pull fetches it anew. The quarantine is bounded; what came first goes first.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import diskcache

from entrepot.protocol.identifiers import Digest, Origin
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.blob_rows import UNREADABLE
from entrepot.storage.diskcache_db.diskcache_disk import is_value_name
from entrepot.storage.diskcache_db.rows import remove_damaged, text_of
from entrepot.storage.errors import Health, guarded

MISSING = "its file is missing"
_ROW = "SELECT CAST(value AS BLOB), CAST(filename AS BLOB) FROM Cache WHERE key = ? AND raw = 1"
_MOST_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A blob, or the manifest of a registry."""

    digest: Digest
    origin: Origin | None = None
    """The registry of a manifest; None for a blob."""

    @property
    def kind(self) -> str:
        """`blob` or `manifest`."""
        return "blob" if self.origin is None else "manifest"

    @property
    def key(self) -> str:
        """Its row."""
        return (
            keys.blob(self.digest)
            if self.origin is None
            else keys.manifest(self.origin, self.digest)
        )

    @classmethod
    def of_key(cls, key: str) -> "StoredObject":
        """Read a row's key; ValueError where it is damaged."""
        match key.split(" "):
            case "blob", digest:
                return cls(Digest.parse(digest))
            case "manifest", origin, digest:
                return cls(Digest.parse(digest), Origin.parse(origin))
        raise ValueError("a key of neither a blob nor a manifest")


@dataclass(frozen=True, slots=True)
class Resting:
    """What is stored of an object: an open file, which its owner must close, or its bytes."""

    file: int | None
    content: bytes = b""


class RestingObjects:
    """Objects at rest. Methods are for the store's thread, and raise ``StoreError``."""

    def __init__(
        self,
        cache: diskcache.Cache,
        quarantine: Path,
        damaged: Callable[[Digest, str, Path | None], None],
        health: Health,
    ) -> None:
        """``damaged`` hears of each object that is set aside, how it was damaged, and where to."""
        self._cache = cache
        self._quarantine = quarantine
        self._damaged = damaged
        self._health = health

    @guarded
    def look(self, wanted: StoredObject) -> Resting | str | None:
        """What is stored of an object, or what is wrong with its row; None where it is gone."""
        row = self._row(wanted)
        if row is None:
            return None
        value, name = row
        if name is None:
            return UNREADABLE if wanted.origin is None else Resting(None, bytes(value or b""))
        if not is_value_name(name):
            return UNREADABLE
        try:
            path = Path(self._cache.directory) / name
            return Resting(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
        except FileNotFoundError:
            return MISSING

    @guarded
    def set_aside(self, wanted: StoredObject, found: Resting | None, reason: str) -> Path | None:
        """Take an object out that is damaged as it was ``found``, unless it was replaced since.

        Where it is now; None where nothing of it is kept.
        """
        row = self._row(wanted)
        if row is None or not self._is_still(row, found):
            return None
        moved_to = None
        with contextlib.suppress(OSError):  # a disk that takes nothing more keeps nothing
            moved_to = self._kept(wanted, *row)
        remove_damaged(self._cache, wanted.key)
        self._damaged(wanted.digest, reason, moved_to)
        return moved_to

    def _row(self, wanted: StoredObject) -> tuple[bytes | None, str | None] | None:
        row = self._cache._sql(_ROW, (wanted.key,)).fetchone()  # noqa: SLF001 get() is a use
        if row is None:
            return None
        value, name = row
        return value, None if name is None else text_of(name)

    def _is_still(self, row: tuple[bytes | None, str | None], found: Resting | None) -> bool:
        value, name = row
        if found is None:
            return True
        if found.file is None or name is None:
            return found.file is None and name is None and found.content == (value or b"")
        try:
            now = (Path(self._cache.directory) / name).stat()
        except OSError:
            return True
        return now.st_ino == os.fstat(found.file).st_ino

    def _kept(self, wanted: StoredObject, value: bytes | None, name: str | None) -> Path | None:
        self._quarantine.mkdir(mode=0o700, exist_ok=True)
        place = self._quarantine / f"{wanted.digest.algorithm}-{wanted.digest.hex}"
        if name is None:
            place.unlink(missing_ok=True)
            file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as opened:
                opened.write(value or b"")
        elif not is_value_name(name):
            return None
        else:
            stored = Path(self._cache.directory) / name
            if stored.stat().st_size > _MOST_BYTES:
                return None  # nor is all else to go for it
            stored.rename(place)
            place.chmod(0o600)
        self._bound()
        return place if place.exists() else None

    def _bound(self) -> None:
        """Remove what was set aside first, as far as all is too much."""
        files = sorted(self._quarantine.iterdir(), key=lambda path: path.stat().st_ctime_ns)
        total = sum(path.stat().st_size for path in files)
        for path in files:
            if total <= _MOST_BYTES:
                return
            total -= path.stat().st_size
            path.unlink()

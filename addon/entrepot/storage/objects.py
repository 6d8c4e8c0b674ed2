"""The database ``blobs``: blobs, a file each, and manifests, and what is known of their state.

A blob's row says when its bytes were last verified and which file that was: inode, and the
times of its last change. Any write through the file system changes those (``ctime`` cannot be
set by a program), so one ``fstat`` tells whether the bytes are still those that were hashed.
A disk that rots does not touch them; against that a verification counts for a day only (see
``checks``), and what nobody asks for is read again from time to time (see ``scrub``). Manifests
are small and are hashed whenever they are read.

A row that makes no sense is removed, and what it described is fetched again.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import diskcache

from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.manifests import listed_digests
from entrepot.storage import listed_descriptors
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.database import RowDamagedError, reading_row, remove_key, text_of
from entrepot.storage.diskcache_db.disk import FinishedFile, is_value_name
from entrepot.storage.rehash import MISMATCH

TRUSTED_SECONDS = 24 * 3600.0
"""How long a verification counts for a file that was not touched since."""

_MARK = "UPDATE Cache SET tag = ? WHERE key = ? AND raw = 1"
_NO_SENSE = "its row cannot be read"
_BYTES = "application/octet-stream"
_PEEK = "SELECT filename, tag FROM Cache WHERE key = ? AND raw = 1"
_HAS = "SELECT 1 FROM Cache WHERE key = ? AND raw = 1"
_NEXT_BLOBS = (
    "SELECT CAST(key AS BLOB), CAST(tag AS BLOB) FROM Cache"
    " WHERE key > CAST(? AS TEXT) AND key < 'blob!' AND raw = 1 ORDER BY key LIMIT 200"
)


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A blob's open file, which its owner must close, and what its row says of it."""

    file: int
    state: os.stat_result
    meta: Mapping[str, Any]
    sound: bool

    @property
    def media_type(self) -> str:
        """Its ``Content-Type``."""
        return str(self.meta["type"])


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as its row has it, verified."""

    content: bytes
    media_type: str
    stored: float
    listed: frozenset[Digest]


@dataclass(frozen=True, slots=True)
class Listed:
    """A blob, and when it was last verified."""

    digest: Digest
    verified: float


class Objects:
    """Blobs and manifests. Methods raise what diskcache, SQLite and the disk raise."""

    def __init__(
        self,
        cache: diskcache.Cache,
        clock: Callable[[], float],
        damaged: Callable[[Digest, str], None],
    ) -> None:
        """``damaged`` hears of each object that was found damaged and removed, and how."""
        self._cache = cache
        self._clock = clock
        self._damaged = damaged
        self._lately = listed_descriptors.Lately()

    def blob(self, digest: Digest) -> BlobFile | None:
        """Open a blob to be served, which counts as use."""
        key = keys.blob(digest)
        return self._opened(digest, lambda: self._cache.get(key, read=True, tag=True))

    def peek(self, digest: Digest) -> BlobFile | None:
        """Open a blob to look at it, which does not keep it from being evicted."""
        return self._opened(digest, lambda: self._peeked(digest))

    def _peeked(self, digest: Digest) -> tuple[BinaryIO | None, str]:
        row = self._cache._sql(_PEEK, (keys.blob(digest),)).fetchone()  # noqa: SLF001 get() is a use
        filename, tag = row or (None, "")
        if filename is None or not is_value_name(filename):
            return None, ""
        try:
            return (Path(self._cache.directory) / filename).open("rb"), tag
        except FileNotFoundError:
            return None, ""

    def _opened(
        self, digest: Digest, find: Callable[[], tuple[BinaryIO | None, str]]
    ) -> BlobFile | None:
        try:
            with reading_row():
                file, tag = find()
                if file is None:
                    return None
                with file:
                    meta = {"type": _BYTES, **json.loads(tag)}
                    state = os.fstat(file.fileno())
                    if state.st_size == meta["size"]:
                        sound = self._is_sound(meta, state)
                        return BlobFile(os.dup(file.fileno()), state, meta, sound)
                    damage = f"its file has {state.st_size} bytes, want {meta['size']}"
        except RowDamagedError:
            damage = _NO_SENSE
        self._remove(keys.blob(digest))
        self._damaged(digest, damage)
        return None

    def add_blob(self, path: Path, digest: Digest, media_type: str) -> None:
        """Take over a file whose bytes were verified just now."""
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        finished = FinishedFile(path, os.fstat(file).st_size)
        meta = {"type": media_type, "size": finished.size}
        try:
            self._cache.set(keys.blob(digest), finished, tag=json.dumps(meta))
            self._mark(digest, meta, os.fstat(file), self._clock())  # the rename touched it
        except Exception:
            finished.withdraw()
            raise
        finally:
            os.close(file)

    def verified(self, digest: Digest, state: os.stat_result) -> None:
        """Remember that the file in this state has the right bytes."""
        self._remark(digest, state, self._clock())

    def doubt(self, digest: Digest) -> None:
        """Have a blob verified again before it is next served."""
        self._remark(digest, None, 0.0)

    def remove_blob(self, digest: Digest, state: os.stat_result, damage: str) -> None:
        """Remove a blob whose file turned out damaged, were it not replaced meanwhile."""
        found = self.peek(digest)
        if found is not None:
            os.close(found.file)
            if found.state.st_ino == state.st_ino:
                self._remove(keys.blob(digest))
                self._damaged(digest, damage)

    def manifest(self, origin: Origin, digest: Digest) -> Manifest | None:
        """A manifest whose bytes still hash to its digest: some microseconds, for every hit."""
        key = keys.manifest(origin, digest)
        try:
            with reading_row():
                content, tag = self._cache.get(key, tag=True)
                if content is None:
                    return None
                if Digest.of(content, digest.algorithm) == digest:
                    meta = json.loads(tag)
                    listing = self._lately.get(digest, lambda: self._listing(key, meta, content))
                    return Manifest(content, str(meta["type"]), float(meta["stored"]), listing)
                damage = MISMATCH
        except RowDamagedError:
            damage = _NO_SENSE
        self._remove(key)
        self._damaged(digest, damage)
        return None

    def add_manifest(self, origin: Origin, digest: Digest, content: bytes, media_type: str) -> None:
        """Keep a verified manifest, and what it lists beside it."""
        listing = self._lately.get(digest, lambda: listed_digests(content))
        meta = {
            "type": media_type,
            "stored": self._clock(),
            "listed": listed_descriptors.encode(listing),
        }
        self._cache.set(keys.manifest(origin, digest), content, tag=json.dumps(meta))

    def has_manifest(self, origin: Origin, digest: Digest) -> bool:
        """Whether a manifest is here; looking does not count as use."""
        key = keys.manifest(origin, digest)
        return self._cache._sql(_HAS, (key,)).fetchone() is not None  # noqa: SLF001 as above

    def _listing(self, key: str, meta: Mapping[str, Any], content: bytes) -> frozenset[Digest]:
        """What a manifest lists, as its row says; one that an earlier version wrote learns it."""
        with contextlib.suppress(KeyError, ValueError, AttributeError):
            return listed_descriptors.decode(meta["listed"])
        listing = listed_digests(content)
        tag = json.dumps({**meta, "listed": listed_descriptors.encode(listing)})
        self._cache._sql(_MARK, (tag, key))  # noqa: SLF001 as below
        return listing

    def listed(self, after: bytes | None) -> tuple[list[Listed], bytes | None]:
        """The next blobs in the order of their keys, and where to go on; None: at either end.

        Manifests, whose rows are long, are not looked at.
        """
        sql = self._cache._sql  # noqa: SLF001 as above
        found = sql(_NEXT_BLOBS, (b"blob " if after is None else after,)).fetchall()
        blobs = [blob for key, tag in found if (blob := _listed(text_of(key), text_of(tag)))]
        return blobs, found[-1][0] if found else None

    def _is_sound(self, meta: Mapping[str, Any], state: os.stat_result) -> bool:
        since = self._clock() - meta.get("verified", 0.0)
        # A clock that was set back would have it verified in the future: then it was not.
        return meta.get("file") == _identity(state) and 0 <= since < TRUSTED_SECONDS

    def _mark(
        self, digest: Digest, meta: Mapping[str, Any], state: os.stat_result | None, when: float
    ) -> None:
        identity = None if state is None else _identity(state)
        tag = json.dumps({**meta, "file": identity, "verified": when})
        self._cache._sql(_MARK, (tag, keys.blob(digest)))  # noqa: SLF001 set() would move the file

    def _remark(self, digest: Digest, state: os.stat_result | None, when: float) -> None:
        found = self.peek(digest)
        if found is not None:
            os.close(found.file)
            self._mark(digest, found.meta, state, when)

    def _remove(self, key: str) -> None:
        try:
            with reading_row():
                self._cache.delete(key)
        except RowDamagedError:  # it names a file that cannot be ours: the row alone
            remove_key(self._cache, key)


def _identity(state: os.stat_result) -> list[int]:
    return [state.st_ino, state.st_mtime_ns, state.st_ctime_ns]


def _listed(key: str, tag: str) -> Listed | None:
    try:
        digest = Digest.parse(key.removeprefix("blob "))
        return Listed(digest, float(json.loads(tag).get("verified", 0.0)))
    except (ValueError, TypeError, AttributeError):
        return None

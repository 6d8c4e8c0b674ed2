"""The rows of the database ``blobs`` that are blobs: a file each, and what is known of its state.

A row says when its file's bytes were last verified and which file that was: inode, and the times
of its last change. Any write through the file system changes those (``ctime`` cannot be set by a
program), so one ``fstat`` tells whether the bytes are still those that were hashed. A disk that
rots does not touch them; against that a verification counts for a day only (``digest_check`` says
who verifies when). Who copies a data folder, or changes its owner, writes no byte of a file and
leaves the time of its last write: that is known apart from a file that was written to.

A row that makes no sense is removed, and what it described is fetched again.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import diskcache

from entrepot.protocol.identifiers import Digest
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.diskcache_disk import FinishedFile, is_value_name
from entrepot.storage.diskcache_db.rows import (
    RowDamagedError,
    reading_row,
    remove_damaged,
    set_tag,
    text_of,
)

TRUSTED_SECONDS = 24 * 3600.0
"""How long a verification counts for a file that was not touched since."""

UNREADABLE = "its row cannot be read"
_BYTES = "application/octet-stream"
_PEEK = "SELECT filename, tag FROM Cache WHERE key = ? AND raw = 1"
_NEXT_BLOBS = (
    "SELECT CAST(key AS BLOB), CAST(tag AS BLOB) FROM Cache"
    " WHERE key > CAST(? AS TEXT) AND key < ? AND raw = 1 ORDER BY key LIMIT 200"
)


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A blob's open file, which its owner must close, and what its row says of it."""

    file: int
    state: os.stat_result
    meta: Mapping[str, Any]
    sound: bool
    unwritten: bool
    """Whether, by the time of its last write, its bytes are those that were once verified."""

    @property
    def media_type(self) -> str:
        """Its ``Content-Type``."""
        return str(self.meta["type"])


@dataclass(frozen=True, slots=True)
class VerifiedBlob:
    """A blob, and when it was last verified."""

    digest: Digest
    verified: float


class BlobRows:
    """Blobs by digest. Methods raise what diskcache, SQLite and the disk raise."""

    def __init__(
        self,
        cache: diskcache.Cache,
        clock: Callable[[], float],
        damaged: Callable[[Digest, str], None],
    ) -> None:
        """``damaged`` hears of each blob that was found damaged and removed, and how."""
        self._cache = cache
        self._clock = clock
        self._damaged = damaged

    def open(self, digest: Digest) -> BlobFile | None:
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
                        sound, unwritten = self._is_sound(meta, state), _is_unwritten(meta, state)
                        return BlobFile(os.dup(file.fileno()), state, meta, sound, unwritten)
                    damage = f"its file has {state.st_size} bytes, want {meta['size']}"
        except RowDamagedError:
            damage = UNREADABLE
        remove_damaged(self._cache, keys.blob(digest))
        self._damaged(digest, damage)
        return None

    def add(self, path: Path, digest: Digest, media_type: str) -> None:
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

    def mark_verified(self, digest: Digest, state: os.stat_result) -> None:
        """Remember that the file in this state has the right bytes."""
        self._remark(digest, state, self._clock())

    def mark_suspect(self, digest: Digest) -> None:
        """Have a blob verified again before it is next served."""
        self._remark(digest, None, 0.0)

    def remove(self, digest: Digest, state: os.stat_result, damage: str) -> None:
        """Remove a blob whose file turned out damaged, unless it was replaced meanwhile."""
        found = self.peek(digest)
        if found is not None:
            os.close(found.file)
            if found.state.st_ino == state.st_ino:
                remove_damaged(self._cache, keys.blob(digest))
                self._damaged(digest, damage)

    def page(self, after: bytes | None) -> tuple[list[VerifiedBlob], bytes | None]:
        """The next blobs in the order of their keys, and where to go on; None: at either end.

        Manifests, whose rows are long, are not looked at.
        """
        sql = self._cache._sql  # noqa: SLF001 as above
        start = keys.BLOBS.start.encode() if after is None else after
        found = sql(_NEXT_BLOBS, (start, keys.BLOBS.end)).fetchall()
        blobs = [blob for key, tag in found if (blob := _verified(text_of(key), text_of(tag)))]
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
        set_tag(self._cache, keys.blob(digest), tag)

    def _remark(self, digest: Digest, state: os.stat_result | None, when: float) -> None:
        found = self.peek(digest)
        if found is not None:
            os.close(found.file)
            self._mark(digest, found.meta, state, when)


def _identity(state: os.stat_result) -> list[int]:
    return [state.st_ino, state.st_mtime_ns, state.st_ctime_ns]


def _is_unwritten(meta: Mapping[str, Any], state: os.stat_result) -> bool:
    known = meta.get("file")
    return known is not None and known[1] == state.st_mtime_ns


def _verified(key: str, tag: str) -> VerifiedBlob | None:
    try:
        digest = Digest.parse(keys.BLOBS.rest(key))
        return VerifiedBlob(digest, float(json.loads(tag).get("verified", 0.0)))
    except (ValueError, TypeError, AttributeError):
        return None

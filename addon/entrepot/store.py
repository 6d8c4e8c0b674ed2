"""Everything kept on disk, in two diskcaches: ``blobs`` for content, ``index`` for knowledge.

``blobs`` holds blobs (each a file) and manifests, is bounded in size and evicts what was used
least recently. ``index`` holds small rows that nothing evicts by size, since that would free
nothing; rows that were not used for 90 days expire. Its rows:

- *link*: this repository has this object, and its bytes may be given to whoever upstream
  allows there. It is written where that registry delivered the bytes itself, or confirmed the
  object by HEAD and either delivered them once before or they are public. A registry's word
  alone is never enough: else any server could claim to have a private blob of another and be
  handed its bytes for the asking.
- *held*: this registry delivered these bytes once. *public*: some registry that holds them
  gives them to anybody.
- *tag*: what a tag last was, by normalised ``Accept``.
- *host*: whether a host is a registry.

Methods block and are meant for the few threads of one executor. What can go wrong with a disk
or a database comes out as :class:`StoreError`, so that a caller can go on without the store.
"""

import functools
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import diskcache

from entrepot import datafolder, rows
from entrepot.disk import FinishedFile
from entrepot.manifest import listed_digests
from entrepot.reference import Digest, Origin, Repository
from entrepot.room import Room

INDEX_SECONDS = 90 * 24 * 3600.0
_PARTIAL_SECONDS = 7 * 24 * 3600.0
_MOST_ACCEPTS = 16
P = ParamSpec("P")
T = TypeVar("T")


class StoreError(Exception):
    """The disk or the database does not do its work; the pull must go on without it."""


class StoreBusyError(StoreError):
    """Another process holds the database; waiting again would take as long."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A whole blob: an open file that its owner must close."""

    file: int
    size: int
    media_type: str
    stored: float
    linked: bool
    """Whether the asked repository is known to have it; else upstream must confirm that."""


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A whole manifest, exactly as upstream sent it."""

    content: bytes
    media_type: str
    stored: float
    linked: bool

    def listed(self) -> frozenset[Digest]:
        """The digests that it lists."""
        return listed_digests(self.content)


@dataclass(frozen=True, slots=True)
class TagEntry:
    """What a tag last was."""

    digest: str
    checked: float


@dataclass(frozen=True, slots=True)
class HostEntry:
    """What is known of a host: whether it is a registry, and until when that counts."""

    registry: bool
    until: float


def _guarded(
    method: Callable[Concatenate["Store", P], T],
) -> Callable[Concatenate["Store", P], T]:
    """Turn what disks and databases raise into :class:`StoreError`."""

    def guarded(self: "Store", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except diskcache.Timeout as error:
            raise StoreBusyError("another process holds the database") from error
        except (OSError, sqlite3.Error, ValueError, KeyError, TypeError) as error:
            # The last three are what a row damaged at rest makes of its reader.
            raise StoreError(f"{type(error).__name__}: {error}") from error

    return functools.update_wrapper(guarded, method)


class Store:
    """The store in ``folder``, bounded by ``limit`` bytes; one process at a time."""

    def __init__(
        self, folder: Path, limit: int | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """Open or create it, and put right what a kill left half done.

        ``limit`` None takes the one chosen at the first start. Raises :class:`StoreError`.
        """
        self.folder = folder
        self._clock = clock
        self._lock_file: int | None = None
        try:
            self._lock_file = datafolder.lock(folder)
            datafolder.check_format(folder)
            self._blobs = datafolder.open_cache(folder / "blobs", "least-recently-used")
            self._index = datafolder.open_cache(folder / "index", "none")
            self.partials = folder / "partial"
            self.partials.mkdir(mode=0o700, exist_ok=True)
            self.limit = limit if limit is not None else self._first_limit()
            self._room = Room(self._blobs, self.partials, self.limit)
            datafolder.reconcile(folder / "blobs", self._blobs)
            datafolder.forget_old(self.partials, clock() - _PARTIAL_SECONDS)
            self._index.expire()
            self._room.make(0)
        except (OSError, sqlite3.Error, diskcache.Timeout, ValueError) as error:
            if self._lock_file is not None:
                os.close(self._lock_file)
            raise StoreError(f"data folder {str(folder)!r}: {error}") from error

    def close(self) -> None:
        """Close the databases and let another process have the folder."""
        self.disconnect()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def disconnect(self) -> None:
        """Close the calling thread's connections; each thread that used the store has its own."""
        self._blobs.close()
        self._index.close()

    # Blobs

    @_guarded
    def find_blob(self, repository: Repository, digest: Digest) -> StoredBlob | None:
        """Open a blob that may be given to who upstream allows it in ``repository``.

        None where it is not here, or where only another registry's private repositories are
        known to have it: then this registry must deliver it itself.
        """
        linked = self._has(rows.link(repository, digest))
        if not linked and not self._shareable(repository.origin, digest):
            return None
        file, tag = self._blobs.get(rows.blob(digest), read=True, tag=True)
        if file is None:
            return None
        with file:
            meta = json.loads(tag)
            state = os.fstat(file.fileno())
            if state.st_size != meta["size"]:
                self._blobs.delete(rows.blob(digest))
                return None
            return StoredBlob(
                os.dup(file.fileno()), state.st_size, meta["type"], state.st_mtime, linked
            )

    @_guarded
    def commit_blob(
        self, path: Path, repository: Repository, digest: Digest, media_type: str, *, public: bool
    ) -> None:
        """Take over a whole, verified file that ``repository``'s registry delivered."""
        if path.exists():  # else it was committed for another repository just now
            size = path.stat().st_size
            tag = json.dumps({"type": media_type, "size": size})
            self._blobs.set(rows.blob(digest), FinishedFile(path, size), tag=tag)
        self._delivered(repository, digest, public=public)

    # Manifests

    @_guarded
    def find_manifest(self, repository: Repository, digest: Digest) -> StoredManifest | None:
        """A manifest that ``repository``'s registry once delivered."""
        content, tag = self._blobs.get(rows.manifest(repository.origin, digest), tag=True)
        if content is None:
            return None
        meta = json.loads(tag)
        linked = self._has(rows.link(repository, digest))
        return StoredManifest(content, meta["type"], meta["stored"], linked)

    @_guarded
    def put_manifest(
        self, repository: Repository, digest: Digest, content: bytes, media_type: str
    ) -> bool:
        """Keep a verified manifest; False where there is no room for it."""
        if not self._room.make(len(content)):
            return False
        tag = json.dumps({"type": media_type, "stored": self._clock()})
        self._blobs.set(rows.manifest(repository.origin, digest), content, tag=tag)
        self._delivered(repository, digest, public=False)
        return True

    # Knowledge

    @_guarded
    def confirm(self, repository: Repository, digest: Digest, *, public: bool) -> None:
        """Remember that upstream says ``repository`` has an object.

        Nothing comes of it where these bytes are only another registry's to give.
        """
        held = self._has(rows.held(repository.origin, digest))
        if held or self._has(rows.public(digest)):
            self._put(rows.link(repository, digest), "1")
        if held and public:
            self._put(rows.public(digest), "1")

    @_guarded
    def unlink(self, repository: Repository, digest: Digest) -> None:
        """Forget that ``repository`` has an object."""
        self._index.delete(rows.link(repository, digest))

    @_guarded
    def tag(self, repository: Repository, tag: str, accept: str | None) -> TagEntry | None:
        """What a tag last was to a client with this normalised ``Accept``; None: with any."""
        entries = self._json(rows.tag(repository, tag))
        entry = entries.get(accept or next(reversed(list(entries)), ""))
        return TagEntry(**entry) if entry else None

    @_guarded
    def set_tag(self, repository: Repository, tag: str, accept: str, digest: Digest) -> None:
        """Remember what upstream says a tag is now."""
        key = rows.tag(repository, tag)
        entries = {k: v for k, v in self._json(key).items() if k != accept}
        kept = list(entries.items())[-(_MOST_ACCEPTS - 1) :]
        latest = asdict(TagEntry(str(digest), self._clock()))
        self._put(key, json.dumps(dict([*kept, (accept, latest)])))

    @_guarded
    def forget_tag(self, repository: Repository, tag: str) -> None:
        """Forget a tag under every ``Accept``."""
        self._index.delete(rows.tag(repository, tag))

    @_guarded
    def host(self, origin: Origin) -> HostEntry | None:
        """What is known of a host, if that still counts."""
        row = self._json(rows.host(origin))
        return HostEntry(**row) if row and row["until"] > self._clock() else None

    @_guarded
    def set_host(self, origin: Origin, *, registry: bool, seconds: float) -> None:
        """Remember for ``seconds`` whether a host is a registry."""
        row = asdict(HostEntry(registry, self._clock() + seconds))
        self._index.set(rows.host(origin), json.dumps(row), expire=seconds)

    # Partial downloads

    def partial(self, origin: Origin, digest: Digest) -> Path:
        """Where an unfinished download of ``digest`` from ``origin`` lies.

        One for each registry: what a hostile one began must not spoil another's.
        """
        owner = Digest.of(str(origin).encode()).hex[:16]
        return self.partials / f"{digest.algorithm}-{digest.hex}-{owner}.part"

    @_guarded
    def claim(self, path: Path, size: int) -> bool:
        """Hold room for a running download until it is ``size`` bytes long; see ``room``."""
        return self._room.claim(path, size)

    @_guarded
    def release(self, path: Path) -> None:
        """End a claim: the file is committed, gone, or waits to be continued."""
        self._room.release(path)

    # Rows

    def _shareable(self, origin: Origin, digest: Digest) -> bool:
        return self._has(rows.held(origin, digest)) or self._has(rows.public(digest))

    def _delivered(self, repository: Repository, digest: Digest, *, public: bool) -> None:
        self._put(rows.held(repository.origin, digest), "1")
        self._put(rows.link(repository, digest), "1")
        if public:
            self._put(rows.public(digest), "1")

    def _has(self, key: str) -> bool:
        value, expires = self._index.get(key, expire_time=True)
        if value is None:
            return False
        if expires is not None and expires - self._clock() < INDEX_SECONDS / 2:
            self._index.touch(key, expire=INDEX_SECONDS)
        return True

    def _put(self, key: str, value: str) -> None:
        self._index.set(key, value, expire=INDEX_SECONDS)

    def _json(self, key: str) -> Mapping[str, Any]:
        row = self._index.get(key)
        return json.loads(row) if row else {}

    # Start

    def _first_limit(self) -> int:
        row = self._index.get("limit")
        if row is None:
            row = str(min(shutil.disk_usage(self.folder).free // 2, 100 * 1024**3))
            self._index.set("limit", row)
        return int(row)

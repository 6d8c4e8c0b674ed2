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

import fcntl
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

from entrepot.disk import FinishedFile, PickleRefusedError, SafeDisk
from entrepot.manifest import listed_digests
from entrepot.reference import Digest, Origin, Repository
from entrepot.room import Room

INDEX_SECONDS = 90 * 24 * 3600.0
FORMAT = "1"
_PARTIAL_SECONDS = 7 * 24 * 3600.0
_MOST_ACCEPTS = 16
_LOCK_SECONDS = 5
"""How long a writer waits for another before the store counts as unusable."""

P = ParamSpec("P")
T = TypeVar("T")


class StoreError(Exception):
    """The disk or the database does not do its work; the pull must go on without it."""


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
        except (OSError, sqlite3.Error, diskcache.Timeout, PickleRefusedError) as error:
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
        try:
            self._lock_file = _lock(folder)
            _check_format(folder)
            self._blobs = _open(folder / "blobs", "least-recently-used")
            self._index = _open(folder / "index", "none")
            self.partials = folder / "partial"
            self.partials.mkdir(mode=0o700, exist_ok=True)
            self.limit = limit if limit is not None else self._first_limit()
            self.room = Room(self._blobs, self.partials, self.limit)
            self._reconcile()
        except (OSError, sqlite3.Error, diskcache.Timeout, PickleRefusedError) as error:
            raise StoreError(f"data folder {str(folder)!r}: {error}") from error

    def close(self) -> None:
        """Close the databases and let another process have the folder."""
        self._blobs.close()
        self._index.close()
        os.close(self._lock_file)

    # Blobs

    @_guarded
    def find_blob(self, repository: Repository, digest: Digest) -> StoredBlob | None:
        """Open a blob that may be given to who upstream allows it in ``repository``.

        None where it is not here, or where only another registry's private repositories are
        known to have it: then this registry must deliver it itself.
        """
        linked = self._has(_link(repository, digest))
        if not linked and not self._shareable(repository.origin, digest):
            return None
        file, tag = self._blobs.get(_blob(digest), read=True, tag=True)
        if file is None:
            return None
        with file:
            meta = json.loads(tag)
            state = os.fstat(file.fileno())
            if state.st_size != meta["size"]:
                del self._blobs[_blob(digest)]
                return None
            return StoredBlob(
                os.dup(file.fileno()), state.st_size, meta["type"], state.st_mtime, linked
            )

    @_guarded
    def commit_blob(
        self, path: Path, repository: Repository, digest: Digest, media_type: str, *, public: bool
    ) -> None:
        """Take over a whole, verified file that ``repository``'s registry delivered."""
        size = path.stat().st_size
        if _blob(digest) in self._blobs:
            path.unlink()
        else:
            tag = json.dumps({"type": media_type, "size": size})
            self._blobs.set(_blob(digest), FinishedFile(path, size), tag=tag)
        self._delivered(repository, digest, public=public)

    # Manifests

    @_guarded
    def find_manifest(self, repository: Repository, digest: Digest) -> StoredManifest | None:
        """A manifest that ``repository``'s registry once delivered."""
        content, tag = self._blobs.get(_manifest(repository.origin, digest), tag=True)
        if content is None:
            return None
        meta = json.loads(tag)
        linked = self._has(_link(repository, digest))
        return StoredManifest(content, meta["type"], meta["stored"], linked)

    @_guarded
    def put_manifest(
        self, repository: Repository, digest: Digest, content: bytes, media_type: str
    ) -> bool:
        """Keep a verified manifest; False where there is no room for it."""
        if not self.room.make(len(content)):
            return False
        tag = json.dumps({"type": media_type, "stored": self._clock()})
        self._blobs.set(_manifest(repository.origin, digest), content, tag=tag)
        self._put(_link(repository, digest), "1")
        return True

    # Knowledge

    @_guarded
    def confirm(self, repository: Repository, digest: Digest, *, public: bool) -> None:
        """Remember that upstream says ``repository`` has an object.

        Nothing comes of it where these bytes are only another registry's to give.
        """
        held = self._has(_held(repository.origin, digest))
        if held or self._has(_public(digest)):
            self._put(_link(repository, digest), "1")
        if held and public:
            self._put(_public(digest), "1")

    @_guarded
    def unlink(self, repository: Repository, digest: Digest) -> None:
        """Forget that ``repository`` has an object."""
        self._index.delete(_link(repository, digest))

    @_guarded
    def tag(self, repository: Repository, tag: str, accept: str) -> TagEntry | None:
        """What a tag last was to a client with this normalised ``Accept``."""
        entry = self._json(_tag(repository, tag)).get(accept)
        return TagEntry(**entry) if entry else None

    @_guarded
    def set_tag(self, repository: Repository, tag: str, accept: str, digest: Digest) -> None:
        """Remember what upstream says a tag is now."""
        key = _tag(repository, tag)
        entries = {k: v for k, v in self._json(key).items() if k != accept}
        kept = list(entries.items())[-(_MOST_ACCEPTS - 1) :]
        latest = asdict(TagEntry(str(digest), self._clock()))
        self._put(key, json.dumps(dict([*kept, (accept, latest)])))

    @_guarded
    def forget_tag(self, repository: Repository, tag: str) -> None:
        """Forget a tag under every ``Accept``."""
        self._index.delete(_tag(repository, tag))

    @_guarded
    def host(self, origin: Origin) -> HostEntry | None:
        """What is known of a host, if that still counts."""
        row = self._json(f"host {origin}")
        return HostEntry(**row) if row and row["until"] > self._clock() else None

    @_guarded
    def set_host(self, origin: Origin, *, registry: bool, seconds: float) -> None:
        """Remember for ``seconds`` whether a host is a registry."""
        row = asdict(HostEntry(registry, self._clock() + seconds))
        self._index.set(f"host {origin}", json.dumps(row), expire=seconds)

    # Partial downloads

    def partial(self, origin: Origin, digest: Digest) -> Path:
        """Where an unfinished download of ``digest`` from ``origin`` lies.

        One for each registry: what a hostile one began must not spoil another's.
        """
        owner = Digest.of(str(origin).encode()).hex[:16]
        return self.partials / f"{digest.algorithm}-{digest.hex}-{owner}.part"

    # Rows

    def _shareable(self, origin: Origin, digest: Digest) -> bool:
        return self._has(_held(origin, digest)) or self._has(_public(digest))

    def _delivered(self, repository: Repository, digest: Digest, *, public: bool) -> None:
        self._put(_held(repository.origin, digest), "1")
        self._put(_link(repository, digest), "1")
        if public:
            self._put(_public(digest), "1")

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

    def _reconcile(self) -> None:
        """Make rows and files agree after a kill: a row has its whole file, a file its row."""
        root = self.folder / "blobs"
        sql = self._blobs._sql  # noqa: SLF001 diskcache has no call for rows with their files
        rows = sql("SELECT key, size, filename FROM Cache WHERE filename IS NOT NULL").fetchall()
        known = set()
        for key, size, filename in rows:
            path = root / filename
            if path.is_file() and path.stat().st_size == size:
                known.add(path)
            else:
                del self._blobs[key]
        for path in root.glob("??/??/*.val"):
            if path not in known:
                path.unlink()
        oldest = self._clock() - _PARTIAL_SECONDS
        for path in self.partials.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink()
        self._index.expire()
        self.room.make(0)


def _open(folder: Path, policy: str) -> diskcache.Cache:
    folder.mkdir(mode=0o700, exist_ok=True)
    return diskcache.Cache(
        folder,
        timeout=_LOCK_SECONDS,
        disk=SafeDisk,
        eviction_policy=policy,
        size_limit=2**62,  # Room keeps the limit: diskcache would evict ten rows at a time
        cull_limit=0,
        sqlite_cache_size=512,  # pages a connection; the default may take 32 MiB each
    )


def _lock(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise OSError("another entrepot is using it") from None
    return file


def _check_format(folder: Path) -> None:
    path = folder / "format"
    if not path.exists():
        path.write_text(f"{FORMAT}\n")
    elif (found := path.read_text().strip()) != FORMAT:
        raise OSError(f"its format is {found!r}, this version reads {FORMAT!r}")


def _blob(digest: Digest) -> str:
    return f"blob {digest}"


def _manifest(origin: Origin, digest: Digest) -> str:
    return f"manifest {origin} {digest}"


def _link(repository: Repository, digest: Digest) -> str:
    return f"link {repository.origin} {repository.name} {digest}"


def _held(origin: Origin, digest: Digest) -> str:
    return f"held {origin} {digest}"


def _public(digest: Digest) -> str:
    return f"public {digest}"


def _tag(repository: Repository, tag: str) -> str:
    return f"tag {repository.origin} {repository.name} {tag}"

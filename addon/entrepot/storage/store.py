"""Everything kept on disk, in two diskcaches: ``blobs`` for content, ``index`` for knowledge.

``blobs`` holds blobs (each a file) and manifests, is bounded in size and evicts what was used
least recently. ``index`` holds small rows, which expire where they were not used for 90 days, and
sooner where they take more than their part of the limit. Its rows:

- *link*: this repository has this object, and its bytes may be given to whoever upstream
  allows there. It is written where that registry delivered the bytes itself, or took them in
  from a client who pushed them by this proxy, or confirmed the object and either did so once
  before or they are public. A registry's word alone is never enough: else any server could claim
  to have a private blob of another and be handed its bytes for the asking.
- *held*: this registry delivered these bytes once, or took them in from a client. *public*: some
  registry that holds them gave them to anybody within the last ten minutes.
- *given*: when this repository's registry last gave this object to somebody anonymous, or to an
  account of the proxy's; *closed*: when it last refused the repository to such. They count while
  upstream is away, and for what a mirror lists.
- *gone*: its registry last told such that this object or tag is not there.
- *tag*: what a tag last was, by normalised ``Accept``.
- *host*: whether a host is a registry.

Methods block and are meant for the few threads of one executor. What can go wrong with a disk
or a database comes out as :class:`StoreError`, so that a caller can go on without the store.
"""

import contextlib
import errno
import functools
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import diskcache

from entrepot.auth.grants import PUBLIC_SECONDS
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.protocol.credential import ANYONE
from entrepot.protocol.identifiers import Digest, Origin, Reference, Repository, Tag
from entrepot.storage.capacity import Fit, Room
from entrepot.storage.catalog_index import Directory, Labels
from entrepot.storage.diskcache_db import database, keys
from entrepot.storage.errors import sqlite_code, storage_reason
from entrepot.storage.index import Index, most_bytes
from entrepot.storage.objects import Listed, Objects
from entrepot.storage.records import HostEntry, StoredBlob, StoredManifest, TagEntry
from entrepot.storage.startup import clean_shutdown, data_folder
from entrepot.storage.startup.migration import Backfill
from entrepot.storage.startup.recovery import Recovery, Turn

_PARTIAL_SECONDS = 7 * 24 * 3600.0
_MOST_ACCEPTS = 16
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_LOST = {
    "blobs": "what was stored is fetched again when it is asked for",
    "index": "registries are asked again who has what",
}
"""What a database costs that has to begin anew."""

_WANTED = {
    errno.EACCES: "; want a folder of the user who runs entrepot",
    errno.EPERM: "; want a folder of the user who runs entrepot",
    errno.EROFS: "; want a folder that can be written",
    errno.ENOSPC: "; want some MiB for the databases at least",
}
P = ParamSpec("P")
T = TypeVar("T")


class StoreError(Exception):
    """The disk or the database does not do its work; the pull must go on without it."""


class StoreBusyError(StoreError):
    """Another process holds the database; waiting again would take as long."""


def _guarded(
    method: Callable[Concatenate["Store", P], T],
) -> Callable[Concatenate["Store", P], T]:
    """Turn what disks and databases raise into :class:`StoreError`."""

    def guarded(self: "Store", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except (diskcache.Timeout, OSError, sqlite3.Error) as error:
            self._sound = self._sound and not database.is_damage(error)
            busy = isinstance(error, diskcache.Timeout) or sqlite_code(error) in _BUSY
            raise (StoreBusyError if busy else StoreError)(storage_reason(error)) from error
        except (ValueError, KeyError, TypeError) as error:
            # What a row damaged at rest makes of its reader.
            raise StoreError(storage_reason(error)) from error

    return functools.update_wrapper(guarded, method)


class Store:
    """The store in ``folder``, bounded by ``limit`` bytes; one process at a time."""

    def __init__(
        self,
        folder: Path,
        limit: int | None = None,
        clock: Callable[[], float] = time.time,
        events: Events | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open or create it.

        ``limit`` None takes the one chosen at the first start. What had to be mended or is found
        damaged later goes to ``events``. ``steady`` is a clock that is never set. Raises
        :class:`StoreError`.
        """
        self.folder = folder
        self.partials = folder / "partial"
        self._clock = clock
        self._steady = steady
        self._events = events or Events()
        with contextlib.ExitStack() as undo:
            try:
                self._lock_file: int | None = data_folder.lock(folder)
                undo.callback(os.close, self._lock_file)
                data_folder.check_format(folder)
                self._open(limit)
            except (OSError, sqlite3.Error, diskcache.Timeout, ValueError) as error:
                wanted = _WANTED.get(getattr(error, "errno", None) or 0, "")
                reason = f"{storage_reason(error)}{wanted}"
                raise StoreError(f"data folder {str(folder)!r}: {reason}") from error
            undo.pop_all()

    def _open(self, limit: int | None) -> None:
        files = (self.folder / "blobs/cache.db", self.folder / "index/cache.db")
        self._database_files = files
        clean = clean_shutdown.was_clean(self.folder, files)
        self._recovered = clean
        self._sound = True
        self._blobs = self._database("blobs", "least-recently-used", checked=clean)
        self._index_cache = self._database("index", "none", checked=clean)
        self._objects = Objects(self._blobs, self._clock, self._found_damaged)
        self._index = Index(self._index_cache, self._clock)
        self._directory = Directory(self._index_cache, self._blobs, self._clock, self._steady)
        self._backfill = Backfill(
            self._index_cache, self._index, self._objects, self._clock, self._steady
        )
        self._backfill.turn()
        self.partials.mkdir(mode=0o700, exist_ok=True)
        self.limit = limit if limit is not None else self._first_limit()
        self._index.bound(most_bytes(self.limit))
        data_folder.forget_old(self.partials, self._clock() - _PARTIAL_SECONDS)
        self._room = Room(
            self._blobs,
            self.partials,
            self.limit,
            self._clock,
            self._steady,
            beside=self._index.volume,
        )
        self._room.make(0)

    def _database(self, name: str, policy: str, *, checked: bool) -> diskcache.Cache:
        folder = self.folder / name
        cache, damage = database.open_cache(folder, policy, checked=checked)
        if damage is not None:
            self._recovered = False
            self._events.log(
                Event.DATABASE_DAMAGED,
                file=folder / "cache.db",
                reason=damage.reason,
                moved_to=damage.moved_to or "nowhere",
                outcome=_LOST[name],
            )
        return cache

    def _found_damaged(self, digest: Digest, reason: str) -> None:
        self._events.log(Event.OBJECT_DAMAGED, digest=digest, reason=reason, outcome="removed")

    def close(self) -> None:
        """Close the databases and let another process have the folder.

        What is to be looked through at the next start has no orderly end.
        """
        self.disconnect()
        if self._lock_file is not None:
            if self._sound and self._recovered:
                with contextlib.suppress(OSError):
                    clean_shutdown.mark_clean(self.folder, self._database_files)
            os.close(self._lock_file)
            self._lock_file = None

    def disconnect(self) -> None:
        """Close the calling thread's connections; each thread that used the store has its own."""
        self._blobs.close()
        self._index_cache.close()

    # Upkeep; see ``upkeep``

    def recover(self, turn: Turn, pause: Callable[[], None]) -> None:
        """Have rows and files agree again after an end that was not orderly; see ``recovery``.

        Runs beside the pulls, on another thread than the store's. Raises :class:`StoreError`.
        """
        if self._recovered:
            return

        def guarded_turn(function: Callable[[], T]) -> T:
            return turn(lambda: self._guarded_call(function))

        recovery = Recovery(self._blobs, guarded_turn, pause)
        removed = self._guarded_call(recovery.rows)
        orphans = self._guarded_call(recovery.files)
        self._recovered = True
        self._events.log(Event.STORE_RECOVERED, rows_removed=removed, files_removed=orphans)

    @_guarded
    def _guarded_call(self, function: Callable[[], T]) -> T:
        return function()

    @_guarded
    def expire(self) -> bool:
        """Remove some of what nobody used for 90 days; whether there may be more."""
        return self._index.expire()

    # Blobs

    @_guarded
    def find_blob(self, repository: Repository, digest: Digest) -> StoredBlob | None:
        """Open a blob that may be given to who upstream allows it in ``repository``.

        None where it is not here, or where only another registry's private repositories are
        known to have it: then this registry must deliver it itself.
        """
        linked = self._index.has(keys.link(repository, digest))
        if not linked and not self._shareable(repository.origin, digest):
            return None
        found = self._objects.blob(digest)
        if found is None:
            return None
        size, stored = found.state.st_size, found.state.st_mtime
        return StoredBlob(found.file, size, found.media_type, stored, linked, found.sound)

    @_guarded
    def commit_blob(
        self,
        path: Path,
        repository: Repository,
        digest: Digest,
        media_type: str,
        *,
        given_to: str | None,
    ) -> None:
        """Take over a whole, verified file that ``repository``'s registry delivered or took in.

        ``given_to`` is the label of whom it gave it to, where that is kept (``access.Credential``).
        What is known of the bytes comes first: bytes that a kill left without it would be of no
        use to anybody, and fetched again.
        """
        self._delivered(repository, digest, given_to, public=given_to == ANYONE)
        if path.exists():  # else it was committed for another repository just now
            self._objects.add_blob(path, digest, media_type)
            self._room.release(path)  # at once, else its bytes would be counted twice

    @_guarded
    def take_in(self, path: Path, repository: Repository, digest: Digest, media_type: str) -> bool:
        """Take over a whole, verified draft that a registry took in; False for want of room."""
        if not self._room.adopt(path):
            return False
        self.commit_blob(path, repository, digest, media_type, given_to=None)
        return True

    @_guarded
    def peek(self, digest: Digest) -> int | None:
        """Open a blob's file without using it up; its owner must close it."""
        found = self._objects.peek(digest)
        return None if found is None else found.file

    @_guarded
    def verified(self, digest: Digest, state: os.stat_result) -> None:
        """Remember that a blob's file, in this state, has the right bytes."""
        self._objects.verified(digest, state)

    @_guarded
    def doubt(self, digest: Digest) -> None:
        """Have a blob verified before it is served again."""
        self._objects.doubt(digest)

    @_guarded
    def remove_damaged(self, digest: Digest, state: os.stat_result, reason: str) -> None:
        """Remove a blob whose file, in this state, has other bytes."""
        self._objects.remove_blob(digest, state, reason)

    @_guarded
    def listed(self, after: bytes | None) -> tuple[list[Listed], bytes | None]:
        """Some of the blobs, in the order of their keys; see ``Objects.listed``."""
        return self._objects.listed(after)

    # Manifests

    @_guarded
    def find_manifest(self, repository: Repository, digest: Digest) -> StoredManifest | None:
        """A manifest that ``repository``'s registry once delivered."""
        found = self._objects.manifest(repository.origin, digest)
        if found is None:
            return None
        linked = self._index.has(keys.link(repository, digest))
        return StoredManifest(found.content, found.media_type, found.stored, linked, found.listed)

    @_guarded
    def put_manifest(
        self,
        repository: Repository,
        digest: Digest,
        content: bytes,
        media_type: str,
        *,
        given_to: str | None,
    ) -> bool:
        """Keep a verified manifest; False where there is no room for it."""
        if not self._room.make(len(content)):
            return False
        self._delivered(repository, digest, given_to, public=False, manifest=True)
        self._objects.add_manifest(repository.origin, digest, content, media_type)
        return True

    # Knowledge

    @_guarded
    def confirm(self, repository: Repository, digest: Digest, *, given_to: str | None) -> None:
        """Remember that upstream says ``repository`` has an object, to whom it said so.

        Nothing comes of it where these bytes are only another registry's to give.
        """
        held = self._index.has(keys.held(repository.origin, digest))
        if held or self._is_public(digest):
            self._index.put(keys.link(repository, digest))
        if held and given_to == ANYONE:
            self._index.put(keys.public(digest), seconds=PUBLIC_SECONDS)
        if held and given_to is not None:
            manifest = self._objects.has_manifest(repository.origin, digest)
            self._given(repository, digest, given_to, manifest=manifest)

    @_guarded
    def was_given(
        self, repository: Repository, digest: Digest, label: str, asked: Reference | None = None
    ) -> bool:
        """Whether such were given this object there, and none was refused the repository since.

        ``asked`` is what it is to be served for, which none may have been told is gone: a tag, or
        an object that it lists.
        """
        if asked is not None and self.is_gone(repository, asked, label):
            return False
        given = self._index.moment(keys.given(repository, digest, label))
        closed = self._index.moment(keys.closed(repository, label))
        return given is not None and (closed is None or closed < given)

    @_guarded
    def close_to(self, repository: Repository, label: str) -> None:
        """Remember that upstream refuses a repository to who is anonymous, or to an account."""
        self._index.put(keys.closed(repository, label), repr(self._clock()))

    @_guarded
    def set_gone(self, repository: Repository, reference: Reference, label: str) -> None:
        """Remember that upstream told such that an object or a tag is not there.

        Others keep it. Of what nobody was ever given nothing is written, whoever asks for it.
        """
        if isinstance(reference, Tag):
            known = keys.tag(repository, reference.name)
        else:
            known = keys.link(repository, reference)
        if self._index.has(known, renew=False):
            self._index.put(keys.gone(repository, reference, label))
            if isinstance(reference, Digest):
                self._index.delete(keys.given(repository, reference, label))
                self._index.delete(keys.shown(repository, label, reference))

    @_guarded
    def set_found(self, repository: Repository, reference: Reference, label: str) -> None:
        """Remember that upstream told such what it is."""
        key = keys.gone(repository, reference, label)
        if self._index.has(key, renew=False):
            self._index.delete(key)

    @_guarded
    def is_gone(self, repository: Repository, reference: Reference, label: str) -> bool:
        """Whether upstream last told such that an object or a tag is not there."""
        return self._index.has(keys.gone(repository, reference, label), renew=False)

    @_guarded
    def unlink(self, repository: Repository, digest: Digest) -> None:
        """Forget that ``repository`` has an object."""
        self._index.delete(keys.link(repository, digest))
        self._directory.forget(repository, digest)

    @_guarded
    def tag(self, repository: Repository, tag: str) -> dict[str, TagEntry]:
        """What a tag last was, by the normalised ``Accept`` of who asked; the latest is last."""
        entries = self._index.document(keys.tag(repository, tag))
        try:
            return {accept: TagEntry(**entry) for accept, entry in entries.items()}
        except TypeError:
            return {}  # a damaged row; the next answer of the registry writes it again

    @_guarded
    def set_tag(self, repository: Repository, tag: str, accept: str, digest: Digest) -> None:
        """Remember what upstream says a tag is now."""
        key = keys.tag(repository, tag)
        entries = {k: v for k, v in self._index.document(key).items() if k != accept}
        kept = list(entries.items())[-(_MOST_ACCEPTS - 1) :]
        latest = asdict(TagEntry(str(digest), self._clock()))
        self._index.put(key, json.dumps(dict([*kept, (accept, latest)])))

    @_guarded
    def forget_tag(self, repository: Repository, tag: str) -> None:
        """Forget a tag under every ``Accept``."""
        self._index.delete(keys.tag(repository, tag))

    @_guarded
    def host(self, origin: Origin) -> HostEntry | None:
        """What is known of a host, ``until`` when."""
        try:
            return HostEntry(**self._index.document(keys.host(origin)))
        except TypeError:
            return None

    @_guarded
    def set_host(self, origin: Origin, *, registry: bool, seconds: float) -> None:
        """Remember whether a host is a registry; after ``seconds`` it is to be asked again."""
        row = asdict(HostEntry(registry, self._clock() + seconds))
        self._index.put(keys.host(origin), json.dumps(row))

    # What is to be seen; see ``directory``

    @_guarded
    def prepare_lists(self) -> bool:
        """Take over what an earlier version wrote, a turn of it; whether lists are whole."""
        return self._backfill.turn()

    @_guarded
    def origins(self, most: int) -> list[Origin]:
        """The registries that gave something to somebody anonymous, or to an account."""
        return self._directory.origins(most)

    @_guarded
    def repositories(
        self, origin: Origin, labels: Labels, after: str, most: int
    ) -> tuple[list[str], str | None]:
        """Those of a registry's next ``most`` repositories that are to be seen, and the last."""
        return self._directory.repositories(origin, labels, after, most)

    @_guarded
    def tags(
        self, repository: Repository, labels: Labels, after: str, most: int
    ) -> tuple[list[str], str | None]:
        """Those of a repository's next ``most`` tags that are to be seen, and the last."""
        return self._directory.tags(repository, labels, after, most)

    # Partial downloads

    def partial(self, origin: Origin, digest: Digest) -> Path:
        """Where an unfinished download of ``digest`` from ``origin`` lies.

        One for each registry: what a hostile one began must not spoil another's.
        """
        owner = Digest.of(str(origin).encode()).hex[:16]
        return self.partials / f"{digest.algorithm}-{digest.hex}-{owner}.part"

    @_guarded
    def draft(self) -> tuple[int, Path]:
        """Make a file for what a client pushes, and open it; its owner closes and removes it."""
        file, name = tempfile.mkstemp(".part", data_folder.PUSHED, self.partials)
        return file, Path(name)

    @_guarded
    def draft_room(
        self, path: Path, end: int, lost: Callable[[], None], announced: int | None
    ) -> bool:
        """Make room for a draft to be ``end`` bytes long; see ``Room.draft``."""
        return self._room.draft(path, end, lost, announced)

    @_guarded
    def keep_draft(self, path: Path) -> None:
        """Let a draft not give way any more: the registry has the bytes."""
        self._room.keep(path)

    @_guarded
    def hold(self, path: Path) -> None:
        """Keep what is there of an unfinished download, which is to be continued."""
        self._room.hold(path)

    @_guarded
    def admit(self, path: Path, size: int | None) -> Fit:
        """Whether a download may become so long (None: nobody knows); see ``Room.admit``."""
        return self._room.admit(path, size)

    @_guarded
    def claim(self, path: Path, end: int, written: int = 0, *, evict: bool = True) -> int:
        """Make room for a running download to be ``end`` bytes long; see ``Room.claim``."""
        return self._room.claim(path, end, written, evict=evict)

    @_guarded
    def release(self, path: Path) -> None:
        """End a claim: the file is committed, gone, or waits to be continued."""
        self._room.release(path)

    # Rows

    def _shareable(self, origin: Origin, digest: Digest) -> bool:
        return self._index.has(keys.held(origin, digest)) or self._is_public(digest)

    def _is_public(self, digest: Digest) -> bool:
        return self._index.has(keys.public(digest), renew=False)

    def _delivered(
        self,
        repository: Repository,
        digest: Digest,
        given_to: str | None,
        *,
        public: bool,
        manifest: bool = False,
    ) -> None:
        self._index.put(keys.held(repository.origin, digest))
        self._index.put(keys.link(repository, digest))
        if public:
            self._index.put(keys.public(digest), seconds=PUBLIC_SECONDS)
        if given_to is not None:
            self._given(repository, digest, given_to, manifest=manifest)

    def _given(self, repository: Repository, digest: Digest, label: str, *, manifest: bool) -> None:
        self.set_found(repository, digest, label)
        now = repr(self._clock())
        self._index.put(keys.given(repository, digest, label), now)
        if manifest:
            self._index.put(keys.shown(repository, label, digest), now)

    # Start

    def _first_limit(self) -> int:
        limit = self._index.number("limit")
        if limit is None:
            limit = min(shutil.disk_usage(self.folder).free // 2, 100 * 1024**3)
            self._index.keep_number("limit", limit)
        return limit

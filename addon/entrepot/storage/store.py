"""The store: everything kept on disk, in a data folder that one process opens at a time.

It is two diskcaches: ``blobs`` for content, bounded in size, which evicts what was used least
recently (``capacity``), and ``index`` for knowledge, small rows that expire where they were not
used for 90 days, and sooner where they take more than their part of the limit
(``diskcache_db.index_rows``). What they hold is parted by subject:

| part | what |
| --- | --- |
| ``blobs``, ``manifests`` | content, found and kept |
| ``links`` | which repository has which digest, and whether its bytes may be given there |
| ``decisions`` | what registries last gave, refused or did not find; counts while they are away |
| ``tags`` | what a tag last was |
| ``lists`` | what lists of tags, referrers and repositories last were, and for whom |
| ``hosts`` | which hosts are registries |
| ``catalog`` | which repositories and tags there are to be seen |
| ``partials`` | the files of unfinished downloads and pushes |
| ``downloads``, ``drafts`` | what each of these files may take |
| ``evicted`` | what gave way for others |
| ``resting`` | objects at rest, for who verifies them |
| ``inventory`` | which images there are; to be read on any thread |

Methods of the parts block and are meant for the one thread of ``store_thread``. What can go wrong
with a disk or a database comes out as :class:`StoreError`, so that a caller can go on without the
store. This module opens and closes it, and has what a kill or damage left put right.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import diskcache

from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.protocol.identifiers import Digest
from entrepot.storage.blobs import Blobs
from entrepot.storage.capacity.download_claims import DownloadClaims
from entrepot.storage.capacity.draft_claims import DraftClaims
from entrepot.storage.capacity.evicted import Evicted
from entrepot.storage.capacity.eviction import Eviction
from entrepot.storage.capacity.size_limit import SizeLimit, Usage
from entrepot.storage.catalog_index import CatalogIndex
from entrepot.storage.diskcache_db import database
from entrepot.storage.diskcache_db.blob_rows import BlobRows
from entrepot.storage.diskcache_db.index_rows import IndexRows, most_bytes
from entrepot.storage.diskcache_db.list_rows import ListRows
from entrepot.storage.diskcache_db.manifest_rows import ManifestRows
from entrepot.storage.diskcache_db.resting_objects import RestingObjects
from entrepot.storage.errors import Health, StoreError, guarded, storage_reason
from entrepot.storage.inventory.inventory import Inventory
from entrepot.storage.known_registries import KnownHosts
from entrepot.storage.lists.lists import Lists
from entrepot.storage.manifests import Manifests
from entrepot.storage.partials.partial_files import PartialFiles
from entrepot.storage.past_grants import PastDecisions
from entrepot.storage.repository_links import RepositoryLinks
from entrepot.storage.startup import clean_shutdown, data_folder
from entrepot.storage.startup.crash_recovery import Recovery, Turn
from entrepot.storage.startup.migration import Backfill
from entrepot.storage.tags import Tags

_MOST_AT_FIRST = 100 * 1024**3
_LOST = {
    "blobs": "what was stored is fetched again when it is asked for",
    "index": "registries are asked again who has what",
}
"""What a database costs that has to begin anew."""

_IN_FORCE = "limit_in_force"
_WANTED = {
    errno.EACCES: "; want a folder of the user who runs entrepot",
    errno.EPERM: "; want a folder of the user who runs entrepot",
    errno.EROFS: "; want a folder that can be written",
    errno.ENOSPC: "; want some MiB for the databases at least",
}
T = TypeVar("T")


class Store:
    """The store in ``folder``, bounded by ``limit`` bytes; one process at a time."""

    def __init__(
        self,
        folder: Path,
        limit: int | None = None,
        clock: Callable[[], float] = time.time,
        events: Events | None = None,
        steady: Callable[[], float] = time.monotonic,
        *,
        trims: bool = True,
    ) -> None:
        """Open or create it.

        ``limit`` None takes the one chosen at the first start. What had to be mended or is found
        damaged later goes to ``events``. ``steady`` is a clock that is never set. What is over the
        limit goes at once where it ``trims``. Raises :class:`StoreError`.
        """
        self._trims = trims
        self.folder = folder
        self._clock = clock
        self._steady = steady
        self._events = events or Events()
        self._health = Health()
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
        self._blob_cache = self._database("blobs", "least-recently-used", checked=clean)
        self._index_cache = self._database("index", "none", checked=clean)
        self._index = index = self._open_knowledge()
        self.partials = PartialFiles(self.folder / "partial", self._health)
        self.partials.folder.mkdir(mode=0o700, exist_ok=True)
        self.limit = limit if limit is not None else self._first_limit(index)
        index.bound(most_bytes(self.limit))
        self.partials.remove_old(self._clock())
        self._open_content(index)

    def _open_knowledge(self) -> IndexRows:
        """What is known: rows of the index."""
        clock, health = self._clock, self._health
        index = IndexRows(self._index_cache, clock)
        self._manifest_rows = ManifestRows(self._blob_cache, clock, self._found_damaged)
        self.decisions = PastDecisions(index, clock, health)
        self.links = RepositoryLinks(index, self._manifest_rows, self.decisions, health)
        self.tags = Tags(index, clock, health)
        self.hosts = KnownHosts(index, clock, health)
        backfill = Backfill(self._index_cache, index, self._manifest_rows, clock, self._steady)
        backfill.turn()
        self.catalog = CatalogIndex(index, self._manifest_rows, backfill, health, self._steady)
        return index

    def _open_content(self, index: IndexRows) -> None:
        """What is kept, and within which limit; what is over it goes."""
        health = self._health
        size_limit = SizeLimit(
            self._blob_cache, self.partials.folder, self.limit, self._steady, beside=index.volume
        )
        self._size_limit = size_limit
        self.evicted = Evicted(self._events)
        eviction = Eviction(size_limit, self._blob_cache, self.evicted, self._clock)
        self.downloads = DownloadClaims(size_limit, eviction, health)
        self.drafts = DraftClaims(size_limit, eviction, health)
        blob_rows = BlobRows(self._blob_cache, self._clock, self._found_damaged)
        self.blobs = Blobs(blob_rows, self.links, self.downloads, self.drafts, health)
        quarantine = self.folder / "quarantine"
        self.resting = RestingObjects(self._blob_cache, quarantine, self._set_aside, health)
        self.manifests = Manifests(self._manifest_rows, self.links, eviction, health)
        list_rows = ListRows(self._blob_cache, self.limit)
        self.lists = Lists(list_rows, index, eviction, health)
        self.inventory = Inventory(
            self.folder,
            self._blob_cache,
            index,
            self.links,
            self.tags,
            eviction,
            health,
            self._clock,
            self._steady,
        )
        self.limit_in_force = self.limit if self._trims else index.number(_IN_FORCE)
        """The limit of the proxy that last served from here; None where none has."""
        if self._trims:
            index.keep_number(_IN_FORCE, self.limit)
            eviction.make_room(0)
        self.room = size_limit.room()
        """What the disk has room for, at the start."""

    def _first_limit(self, index: IndexRows) -> int:
        """The limit of the first start, which stays."""
        limit = index.number("limit")
        if limit is None:
            limit = min(shutil.disk_usage(self.folder).free // 2, _MOST_AT_FIRST)
            index.keep_number("limit", limit)
        return limit

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

    def _set_aside(self, digest: Digest, reason: str, moved_to: Path | None) -> None:
        self._events.log(
            Event.OBJECT_DAMAGED,
            digest=digest,
            reason=reason,
            outcome="removed",
            moved_to=moved_to,
        )

    def close(self) -> None:
        """Close the databases and let another process have the folder.

        What is to be looked through at the next start has no orderly end.
        """
        self.inventory.close()
        self.disconnect()
        if self._lock_file is not None:
            if self._health.sound and self._recovered:
                with contextlib.suppress(OSError):
                    clean_shutdown.mark_clean(self.folder, self._database_files)
            os.close(self._lock_file)
            self._lock_file = None

    def disconnect(self) -> None:
        """Close the calling thread's connections; each thread that used the store has its own."""
        self._blob_cache.close()
        self._index_cache.close()

    @guarded
    def check(self) -> None:
        """Find out whether it can be read and written now, for what costs no row.

        Raises :class:`StoreError`.
        """
        for cache in (self._blob_cache, self._index_cache):
            database.try_to_use(cache)
        self.partials.try_to_write()
        if not self.downloads.has_room():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @guarded
    def usage(self) -> Usage:
        """What it takes of its limit and its disk; reads no table. Raises :class:`StoreError`."""
        with self._size_limit.lock:
            return self._size_limit.usage()

    # What it needs while it runs: see ``maintenance.housekeeping``

    def recover(self, turn: Turn, pause: Callable[[], None]) -> None:
        """Have rows and files agree again after an end that was not orderly: ``crash_recovery``.

        Runs beside the pulls, on another thread than the store's. Raises :class:`StoreError`.
        """
        if self._recovered:
            return

        def guarded_turn(function: Callable[[], T]) -> T:
            return turn(lambda: self._guarded_call(function))

        recovery = Recovery(self._blob_cache, guarded_turn, pause)
        removed = self._guarded_call(recovery.remove_rows)
        orphans = self._guarded_call(recovery.remove_files)
        self._recovered = True
        self._events.log(Event.STORE_RECOVERED, rows_removed=removed, files_removed=orphans)

    @guarded
    def _guarded_call(self, function: Callable[[], T]) -> T:
        return function()

    @guarded
    def expire(self) -> bool:
        """Remove some of what nobody used for 90 days; whether there may be more."""
        return self._index.expire()

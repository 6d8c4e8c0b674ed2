"""What becomes of a fetch: committed and linked, kept to be continued, or discarded.

All this runs on the download's own thread.
"""

import contextlib
from functools import partial

from entrepot.auth.grants import Access, Asked
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.protocol.identifiers import Repository
from entrepot.pull.authorization import Authorization
from entrepot.pull.pull import Pull
from entrepot.storage.errors import StoreError, storage_reason
from entrepot.storage.partials.map_file import discard
from entrepot.storage.store_thread import StoreThread
from entrepot.transfer.download import Download
from entrepot.transfer.errors import GaveWay, MismatchError


class Commit:
    """What downloads need of the store: room as they grow, and to be taken over at their end."""

    def __init__(
        self,
        store_thread: StoreThread,
        events: Events,
        access: Access,
        authorization: Authorization,
    ) -> None:
        self._store = store_thread.store
        self._store_thread = store_thread
        self._events = events
        self._access = access
        self._authorization = authorization

    def claim_room(self, download: Download, end: int) -> int:
        """Make room for a download to be ``end`` bytes long; up to where there is some now."""
        # What nobody waits for and says no end of itself takes nobody's place.
        evict = download.file.size is not None or download.file.is_followed
        claim = partial(
            self._store.downloads.claim,
            download.file.path,
            end,
            download.file.written,
            evict=evict,
        )
        try:
            return self._store_thread.run_from_thread(claim)
        except (StoreError, RuntimeError):
            return 0

    def finish(self, pull: Pull, asked: Asked, download: Download) -> None:
        """Commit a download, or clear away what is of no use; ``pull`` began it when ``asked``."""
        if download.file.error is None:
            self._commit(pull, asked, download)
        else:
            self._discard(pull.repository, download, download.file.error)
        release = partial(self._store.downloads.release, download.file.path)
        with contextlib.suppress(StoreError, RuntimeError):
            self._store_thread.run_from_thread(release)

    def _commit(self, pull: Pull, asked: Asked, download: Download) -> None:
        store, events = self._store, self._events
        digest, repository = pull.digest, pull.repository

        def commit() -> None:
            """What is heard while this runs is written after it."""
            label = self._authorization.given_to(pull, asked)
            path, media_type = download.file.path, download.media_type
            store.blobs.commit(path, repository, digest, media_type, given_to=label)
            deleted = self._access.is_deleted(repository, digest, asked)
            if deleted or repository not in download.repositories:
                store.links.remove(repository, digest)
            for other in set(download.repositories) - {repository}:
                store.links.confirm(other, digest, given_to=None)

        try:
            self._store_thread.run_from_thread(commit)
        except (StoreError, RuntimeError) as problem:
            events.log_once(Event.STORE_FAILED, reason=problem)
        else:
            events.log(
                Event.BLOB_STORED, digest=digest, size=download.file.size, repository=repository
            )

    def _discard(self, repository: Repository, download: Download, error: Exception) -> None:
        """Say why a download ended early; the file goes where it could not be continued."""
        useless = isinstance(error, MismatchError | OSError) or download.file.written == 0
        kept = 0 if useless else download.file.written
        if useless:
            discard(download.file.path)
        events, digest = self._events, download.digest
        if isinstance(error, GaveWay):
            events.log(
                Event.FETCH_YIELDED, digest=digest, repository=repository, reason=error, kept=kept
            )
            return
        events.log(
            Event.DIGEST_MISMATCHED if isinstance(error, MismatchError) else Event.FETCH_BROKEN,
            digest=digest,
            repository=repository,
            reason=storage_reason(error) if isinstance(error, OSError) else error,
            kept=kept,
        )

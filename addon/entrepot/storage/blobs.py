"""Blobs on disk: found for a repository, committed whole and verified, removed where damaged."""

import os
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.storage.capacity.download_claims import DownloadClaims
from entrepot.storage.capacity.draft_claims import DraftClaims
from entrepot.storage.diskcache_db.blob_rows import BlobRows, VerifiedBlob
from entrepot.storage.errors import Health, guarded
from entrepot.storage.partials.map_file import forget_map
from entrepot.storage.repository_links import RepositoryLinks


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A whole blob: an open file that its owner must close."""

    file: int
    size: int
    media_type: str
    stored: float
    linked: bool
    """Whether the asked repository is known to have it; else upstream must confirm that."""
    sound: bool
    """Whether its bytes were verified lately, and the file was not touched since."""
    unwritten: bool = True
    """Whether, by the time of its last write, its bytes are those that were once verified."""
    verdict: Awaitable[bool] | None = field(default=None, compare=False)
    """Whether its bytes are right, where they are hashed while it is served; else None."""


class Blobs:
    """Blobs by repository and digest."""

    def __init__(
        self,
        rows: BlobRows,
        links: RepositoryLinks,
        downloads: DownloadClaims,
        drafts: DraftClaims,
        health: Health,
    ) -> None:
        self._rows = rows
        self._links = links
        self._downloads = downloads
        self._drafts = drafts
        self._health = health

    @guarded
    def find(self, repository: Repository, digest: Digest) -> StoredBlob | None:
        """Open a blob that may be given to who upstream allows it in ``repository``.

        None where it is not here, or where only another registry's private repositories are
        known to have it: then this registry must deliver it itself.
        """
        linked = self._links.has(repository, digest)
        if not linked and not self._links.is_shareable(repository.origin, digest):
            return None
        found = self._rows.open(digest)
        if found is None:
            return None
        size, stored = found.state.st_size, found.state.st_mtime
        return StoredBlob(
            found.file, size, found.media_type, stored, linked, found.sound, found.unwritten
        )

    @guarded
    def commit(
        self,
        path: Path,
        repository: Repository,
        digest: Digest,
        media_type: str,
        *,
        given_to: str | None,
    ) -> None:
        """Take over a whole, verified file that ``repository``'s registry delivered or took in.

        ``given_to`` is the label of whom it gave it to, where that is kept (``past_grants``).
        The link is written first: bytes that a kill left without one could be given to nobody.
        """
        self._links.add_delivered(repository, digest, given_to, public=given_to == ANYONE)
        if path.exists():  # else it was committed for another repository just now
            self._rows.add(path, digest, media_type)
            forget_map(path)
            self._downloads.release(path)  # at once, else its bytes would be counted twice

    @guarded
    def commit_draft(
        self, path: Path, repository: Repository, digest: Digest, media_type: str
    ) -> bool:
        """Take over a whole, verified draft that a registry took in; False for want of room."""
        if not self._drafts.adopt(path):
            return False
        self.commit(path, repository, digest, media_type, given_to=None)
        return True

    @guarded
    def take_in(
        self,
        path: Path | None,
        repository: Repository,
        digest: Digest,
        media_type: str,
        *,
        given_to: str | None,
    ) -> bool:
        """Take over a whole, verified file that the administrator imports; False for want of room.

        Without ``path`` the blob must be here: False where it is not. Whom it was ``given_to`` is
        the administrator's word, so other registries have no share in it (``repository_links``).
        """
        if path is None:
            found = self._rows.peek(digest)
            if found is None:
                return False
            os.close(found.file)
        elif not self._drafts.make_room(path.stat().st_size):
            return False
        self._links.add_delivered(repository, digest, given_to, public=False)
        if path is not None:
            self._rows.add(path, digest, media_type)
        return True

    # Verification: see ``digest_check``

    @guarded
    def peek(self, digest: Digest) -> int | None:
        """Open a blob's file, which does not count as use; its owner must close it."""
        found = self._rows.peek(digest)
        return None if found is None else found.file

    @guarded
    def mark_verified(self, digest: Digest, state: os.stat_result) -> None:
        """Remember that a blob's file, in this state, has the right bytes."""
        self._rows.mark_verified(digest, state)

    @guarded
    def mark_suspect(self, digest: Digest) -> None:
        """Have a blob verified before it is served again."""
        self._rows.mark_suspect(digest)

    @guarded
    def remove_damaged(self, digest: Digest, state: os.stat_result, reason: str) -> None:
        """Remove a blob whose file, in this state, has other bytes."""
        self._rows.remove(digest, state, reason)

    @guarded
    def page(self, after: bytes | None) -> tuple[list[VerifiedBlob], bytes | None]:
        """Some of the blobs, in the order of their keys; see ``BlobRows.page``."""
        return self._rows.page(after)

"""Manifests on disk: exactly the bytes that a registry sent, each registry's apart."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.manifests import listed_digests
from entrepot.storage.capacity.eviction import Eviction
from entrepot.storage.diskcache_db.manifest_rows import ManifestRows
from entrepot.storage.errors import Health, guarded
from entrepot.storage.repository_links import RepositoryLinks


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A whole manifest, exactly as upstream sent it."""

    content: bytes
    media_type: str
    stored: float
    linked: bool
    """Whether the asked repository is known to have it; else upstream must confirm that."""
    digests: frozenset[Digest]
    """What it lists, as it was read once: its JSON may take a tenth of a second."""

    def listed(self) -> frozenset[Digest]:
        """The digests that it lists."""
        return self.digests


class Manifests:
    """Manifests by repository and digest."""

    def __init__(
        self, rows: ManifestRows, links: RepositoryLinks, eviction: Eviction, health: Health
    ) -> None:
        self._rows = rows
        self._links = links
        self._eviction = eviction
        self._health = health

    @guarded
    def find(self, repository: Repository, digest: Digest) -> StoredManifest | None:
        """A manifest that ``repository``'s registry once delivered."""
        found = self._rows.get(repository.origin, digest)
        if found is None:
            return None
        linked = self._links.has(repository, digest)
        return StoredManifest(found.content, found.media_type, found.stored, linked, found.listed)

    @guarded
    def put(
        self,
        repository: Repository,
        digest: Digest,
        content: bytes,
        media_type: str,
        *,
        given_to: str | None,
        listed: Callable[[], frozenset[Digest]] | None = None,
    ) -> bool:
        """Keep a verified manifest; False where there is no room for it.

        ``given_to`` is the label of whom it was given to, where that is kept (``past_grants``).
        ``listed`` says what it lists, where the caller reads that too; it is asked on this thread.
        """
        if not self._eviction.make_room(len(content)):
            return False
        self._links.add_delivered(repository, digest, given_to, public=False, manifest=True)
        listed = listed or partial(listed_digests, content)
        self._rows.add(repository.origin, digest, content, media_type, listed)
        return True

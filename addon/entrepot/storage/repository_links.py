"""Which repository has which digest, and whether its bytes may be given there.

A blob's bytes are kept once, whichever registries have it; who may have them is decided for each
repository. The rows:

- *link*: this repository has this object, and its bytes may be given to whoever upstream allows
  there. It is written where that registry delivered the bytes itself, or took them in from a
  client who pushed them by this proxy, or confirmed the object and either did so once before or
  they are public. A registry's word alone is never enough: else any server could claim to have a
  private blob of another and be handed its bytes for the asking.
- *held*: this registry delivered these bytes once, or took them in from a client.
- *public*: some registry that holds them gave them to anybody within the last ten minutes.
"""

from entrepot.auth.grants import PUBLIC_SECONDS
from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.index_rows import IndexRows
from entrepot.storage.diskcache_db.manifest_rows import ManifestRows
from entrepot.storage.errors import Health, guarded
from entrepot.storage.past_grants import PastDecisions


class RepositoryLinks:
    """Links of repositories to blobs and manifests."""

    def __init__(
        self, index: IndexRows, manifests: ManifestRows, decisions: PastDecisions, health: Health
    ) -> None:
        self._index = index
        self._manifests = manifests
        self._decisions = decisions
        self._health = health

    @guarded
    def confirm(self, repository: Repository, digest: Digest, *, given_to: str | None) -> None:
        """Remember that upstream says ``repository`` has an object, and to which label it said so.

        Nothing is remembered where these bytes are only another registry's to give.
        """
        held = self._index.has(keys.held(repository.origin, digest))
        if held or self._is_public(digest):
            self._index.put(keys.link(repository, digest))
        if held and given_to == ANYONE:
            self._index.put(keys.public(digest), seconds=PUBLIC_SECONDS)
        if held and given_to is not None:
            manifest = self._manifests.has(repository.origin, digest)
            self._decisions.add_given(repository, digest, given_to, manifest=manifest)

    @guarded
    def remove(self, repository: Repository, digest: Digest) -> None:
        """Forget that ``repository`` has an object, and to whom it was given."""
        self._index.delete(keys.link(repository, digest))
        self._decisions.forget_given(repository, digest)

    # For blobs and manifests; these raise what diskcache and SQLite raise

    def has(self, repository: Repository, digest: Digest) -> bool:
        """Whether a repository is known to have an object."""
        return self._index.has(keys.link(repository, digest))

    def is_shareable(self, origin: Origin, digest: Digest) -> bool:
        """Whether a repository of this registry may have these bytes once it confirms them."""
        return self._index.has(keys.held(origin, digest)) or self._is_public(digest)

    def add_delivered(
        self,
        repository: Repository,
        digest: Digest,
        given_to: str | None,
        *,
        public: bool,
        manifest: bool = False,
    ) -> None:
        """Remember that a repository's registry delivered these bytes, or took them in."""
        self._index.put(keys.held(repository.origin, digest))
        self._index.put(keys.link(repository, digest))
        if public:
            self._index.put(keys.public(digest), seconds=PUBLIC_SECONDS)
        if given_to is not None:
            self._decisions.add_given(repository, digest, given_to, manifest=manifest)

    def _is_public(self, digest: Digest) -> bool:
        return self._index.has(keys.public(digest), renew=False)

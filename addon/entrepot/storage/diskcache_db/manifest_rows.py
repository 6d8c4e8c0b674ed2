"""The rows of the database ``blobs`` that are manifests: the exact bytes, and what they list.

Manifests are small and are hashed whenever they are read (``digest_check``). A row that makes no
sense is removed, and its manifest is fetched again.
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import diskcache

from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.manifests import listed_digests
from entrepot.storage.digest_check import MISMATCH
from entrepot.storage.diskcache_db import keys, listed_descriptors
from entrepot.storage.diskcache_db.blob_rows import UNREADABLE
from entrepot.storage.diskcache_db.rows import (
    RowDamagedError,
    has_key,
    reading_row,
    remove_damaged,
    set_tag,
)


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A manifest as its row has it, verified."""

    content: bytes
    media_type: str
    stored: float
    listed: frozenset[Digest]


class ManifestRows:
    """Manifests by registry and digest. Methods raise what diskcache and SQLite raise."""

    def __init__(
        self,
        cache: diskcache.Cache,
        clock: Callable[[], float],
        damaged: Callable[[Digest, str], None],
    ) -> None:
        """``damaged`` hears of each manifest that was found damaged and removed, and how."""
        self._cache = cache
        self._clock = clock
        self._damaged = damaged
        self._lately = listed_descriptors.Lately()

    def get(self, origin: Origin, digest: Digest) -> ManifestRow | None:
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
                    media_type, stored = str(meta["type"]), float(meta["stored"])
                    return ManifestRow(content, media_type, stored, listing)
                damage = MISMATCH
        except RowDamagedError:
            damage = UNREADABLE
        remove_damaged(self._cache, key)
        self._damaged(digest, damage)
        return None

    def add(
        self,
        origin: Origin,
        digest: Digest,
        content: bytes,
        media_type: str,
        listed: Callable[[], frozenset[Digest]],
    ) -> None:
        """Keep a verified manifest, and what it lists beside it, which is asked where unknown."""
        listing = self._lately.get(digest, listed)
        meta = {
            "type": media_type,
            "stored": self._clock(),
            "listed": listed_descriptors.encode(listing),
        }
        self._cache.set(keys.manifest(origin, digest), content, tag=json.dumps(meta))

    def has(self, origin: Origin, digest: Digest) -> bool:
        """Whether a manifest is here; looking does not count as use."""
        return has_key(self._cache, keys.manifest(origin, digest))

    def _listing(self, key: str, meta: Mapping[str, Any], content: bytes) -> frozenset[Digest]:
        """What a manifest lists, as its row says; one that an earlier version wrote learns it."""
        with contextlib.suppress(KeyError, ValueError, AttributeError):
            return listed_descriptors.decode(meta["listed"])
        listing = listed_digests(content)
        tag = json.dumps({**meta, "listed": listed_descriptors.encode(listing)})
        set_tag(self._cache, key, tag)
        return listing

"""What a tag last was, for each ``Accept``: what is revalidated, or served stale.

Whether it is still fresh is decided in ``pull.manifests.tag_revalidation``.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from entrepot.protocol.identifiers import Digest, Repository
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.index_rows import IndexRows
from entrepot.storage.errors import Health, guarded

_MOST_ACCEPTS = 16


@dataclass(frozen=True, slots=True)
class TagEntry:
    """What a tag last was: a digest, and when the registry last said so (time of day)."""

    digest: str
    checked: float


class Tags:
    """Tags by repository and name."""

    def __init__(self, index: IndexRows, clock: Callable[[], float], health: Health) -> None:
        self._index = index
        self._clock = clock
        self._health = health

    @guarded
    def get(self, repository: Repository, tag: str) -> dict[str, TagEntry]:
        """What a tag last was, by the normalised ``Accept`` of who asked; the latest is last."""
        entries = self._index.document(keys.tag(repository, tag))
        try:
            return {accept: TagEntry(**entry) for accept, entry in entries.items()}
        except TypeError:
            return {}  # a damaged row; the next answer of the registry writes it again

    @guarded
    def set(self, repository: Repository, tag: str, accept: str, digest: Digest) -> None:
        """Remember what upstream says a tag is now."""
        key = keys.tag(repository, tag)
        entries = {k: v for k, v in self._index.document(key).items() if k != accept}
        kept = list(entries.items())[-(_MOST_ACCEPTS - 1) :]
        latest = asdict(TagEntry(str(digest), self._clock()))
        self._index.put(key, json.dumps(dict([*kept, (accept, latest)])))

    @guarded
    def forget(self, repository: Repository, tag: str) -> None:
        """Forget a tag under every ``Accept``."""
        self._index.delete(keys.tag(repository, tag))

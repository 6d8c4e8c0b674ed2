"""Manifests that the store holds, and the answers made of them."""

from collections.abc import Callable

from entrepot.events.counters import Counter
from entrepot.events.log import Events
from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.messages import Answer
from entrepot.pull.pull import Pull
from entrepot.storage.manifests import StoredManifest
from entrepot.storage.store_thread import StoreThread
from entrepot.transfer.range_answers import Content, content_answer


class HeldManifests:
    """Finds manifests in the store, and serves them."""

    def __init__(
        self, store_thread: StoreThread, events: Events, wall: Callable[[], float]
    ) -> None:
        """``wall`` is the time of day, in seconds."""
        self._manifests = store_thread.store.manifests
        self._store_thread = store_thread
        self._events = events
        self._wall = wall

    async def find(self, pull: Pull) -> StoredManifest | None:
        """A manifest that this registry once delivered, whoever may have it."""
        return await self._store_thread.run(
            lambda: self._manifests.find(pull.repository, pull.digest), None
        )

    def hit(
        self, pull: Pull, found: StoredManifest, how: CacheStatus, *, age: float | None = None
    ) -> Answer:
        """A held manifest; ``age``: seconds since upstream confirmed it, if not since it came."""
        self._events.count(Counter.MANIFEST_HITS)
        if age is None:
            age = self._wall() - found.stored
        content = Content(pull.digest, found.media_type, len(found.content), found.content, age=age)
        return content_answer(pull.request, content, how)

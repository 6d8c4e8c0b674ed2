"""What upstream said of tags, to whom, in the order in which it was asked.

Of two answers the one counts that was asked for later: what was asked before a push may be
answered long after it.

What a tag is holds for all clients. That it is not there (404) holds for the client that was told
so alone, since registries hide what is private. Memory has the latest of that (``auth.grants``);
for anonymous clients and accounts the store has it too, of tags that it knows
(``storage.past_grants``).
"""

from collections.abc import Callable

from entrepot.auth.grants import Access, Asked
from entrepot.bounded_map import BoundedMap
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.pull.pull import TagPull
from entrepot.storage.store_thread import StoreThread

_MOST_TAGS = 10_000


class Latest:
    """When the latest answer on each tag was asked for. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._asked: BoundedMap[str, float] = BoundedMap(_MOST_TAGS)
        """By texts and numbers alone, which the garbage collector need not look into."""

    def is_news(self, repository: Repository, tag: str, asked: float) -> bool:
        """Whether nothing was heard yet that was asked for later; from now on this is the latest.

        A change that passed by here counts as heard when it was made.
        """
        key = f"{repository.origin} {repository.name} {tag}"
        if asked < self._asked.get(key, asked):
            return False
        self._asked.put(key, asked)
        return True


class TagHistory:
    """Remembers what tags are, and to whom they are gone."""

    def __init__(
        self, store_thread: StoreThread, access: Access, clock: Callable[[], float]
    ) -> None:
        self._store = store_thread.store
        self._store_thread = store_thread
        self._access = access
        self._clock = clock
        self._latest = Latest()
        self._told = Latest()
        """Whether it is there, by whom it was told."""

    def changed(self, repository: Repository, tag: str) -> None:
        """Remember that a client just wrote or deleted a tag: what was asked before is no news."""
        self._latest.is_news(repository, tag, self._clock())

    def found(self, pull: TagPull, digest: Digest, asked: Asked) -> Callable[[], None]:
        """Remember what a tag is; returns what writes it, to be called on the store's thread."""
        store, repository, tag = self._store, pull.repository, pull.tag
        label, accept = self._hears(pull, asked, gone=False), pull.accept
        news = self._latest.is_news(repository, tag.name, asked.at)

        def remember() -> None:
            if news:
                store.tags.set(repository, tag.name, accept, digest)
            if label is not None:
                store.decisions.set_found(repository, tag, label)

        return remember

    async def gone(self, pull: TagPull, asked: Asked) -> None:
        """Remember that a tag is not there for this client."""
        store, label = self._store, self._hears(pull, asked, gone=True)
        if label is not None:
            await self._store_thread.run(
                lambda: store.decisions.set_gone(pull.repository, pull.tag, label), None
            )

    def _hears(self, pull: TagPull, asked: Asked, *, gone: bool) -> str | None:
        """By which label the store is to remember it; None where memory alone does, or none."""
        repository, tag, who = pull.repository, pull.tag, pull.who
        if not self._told.is_news(repository, f"{tag} {who.heard_as}", asked.at):
            return None
        self._access.told(repository, who.heard_as, tag, gone=gone)
        return who.label

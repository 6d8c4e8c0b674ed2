"""What upstream said of tags, to whom, in the order in which it was asked.

What a tag is, is one thing for all; that it is not there may be so for some alone, since registries
hide what is private. So this counts for who was told it: the store keeps it for those for whom it
remembers what they were given, and memory for who asks with a login of their own.
"""

from collections.abc import Callable

from entrepot.auth.credentials import Credential
from entrepot.auth.grants import Asked
from entrepot.protocol.identifiers import Digest, Repository, Tag
from entrepot.pull import tag_freshness
from entrepot.upstream.context import Context


class TagWords:
    """Belongs to one event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._latest = tag_freshness.Latest()
        self._told = tag_freshness.Latest()
        """Whether it is there, by whom it was told."""

    def changed(self, repository: Repository, tag: str) -> None:
        """Take in that a client just wrote or deleted a tag: what was asked before is no news."""
        self._latest.is_news(repository, tag, self._context.clock())

    def found(
        self,
        repository: Repository,
        tag: Tag,
        accept: str,
        digest: Digest,
        who: Credential,
        asked: Asked,
    ) -> Callable[[], None]:
        """Take in what a tag is; what of it the store is to remember, to run on its thread."""
        store = self._context.store
        label = self._hears(repository, tag, who, asked, gone=False)
        news = self._latest.is_news(repository, tag.name, asked.at)

        def remember() -> None:
            if news:
                store.tags.set(repository, tag.name, accept, digest)
            if label is not None:
                store.decisions.set_found(repository, tag, label)

        return remember

    async def gone(self, repository: Repository, tag: Tag, who: Credential, asked: Asked) -> None:
        """Take in that a tag is not there for ``who``."""
        store = self._context.store
        label = self._hears(repository, tag, who, asked, gone=True)
        if label is not None:
            await self._context.store_thread.run(
                lambda: store.decisions.set_gone(repository, tag, label), None
            )

    def _hears(
        self, repository: Repository, tag: Tag, who: Credential, asked: Asked, *, gone: bool
    ) -> str | None:
        """As whom ``who`` hears it, where it is news and the store is to know."""
        if who.label is None:
            self._context.access.told(repository, who, tag, gone=gone)
        elif self._told.is_news(repository, f"{tag} {who.label}", asked.at):
            return who.label
        return None

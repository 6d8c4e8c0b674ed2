"""What registries last decided: what they gave, to whom, and what they refused.

It is kept by label: for somebody anonymous (``protocol.account.ANYONE``), and for each account
as which the proxy asks; never for a client's own login. It counts while upstream is away
(``pull.stale``: stale-if-error needs to know that who asks was allowed), and for what a mirror
lists (``catalog_index``); while upstream answers, its own word counts (``pull.authorization``). The
rows, each with a time:

- *given*: the registry gave this object of its repository to a label; *shown* says the same of a
  manifest, in the order of lists.
- *closed*: the registry refused the repository to a label; what it was given before counts no more.
- *gone*: the registry told a label that this object or this tag is not there.
"""

from collections.abc import Callable

from entrepot.protocol.identifiers import Digest, Reference, Repository, Tag
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.index_rows import IndexRows
from entrepot.storage.errors import Health, guarded

_MOST_LABELS = 2000


class PastDecisions:
    """Allowed, refused and not found, by repository, object and label."""

    def __init__(self, index: IndexRows, clock: Callable[[], float], health: Health) -> None:
        self._index = index
        self._clock = clock
        self._health = health

    def add_given(
        self, repository: Repository, digest: Digest, label: str, *, manifest: bool
    ) -> None:
        """Remember that a label was given an object, a ``manifest`` or not.

        Raises what diskcache and SQLite raise.
        """
        self.set_found(repository, digest, label)
        now = repr(self._clock())
        self._index.put(keys.given(repository, digest, label), now)
        if manifest:
            self._index.put(keys.shown(repository, label, digest), now)

    def forget_given(self, repository: Repository, digest: Digest) -> None:
        """Forget to whom an object was given. Raises what diskcache and SQLite raise."""
        given = keys.given_to_any(repository, digest)
        for _, key, _ in self._index.between(given.start, given.end, _MOST_LABELS):
            self._index.delete(key)
            self._index.delete(keys.shown(repository, given.rest(key), digest))

    @guarded
    def was_given(
        self, repository: Repository, digest: Digest, label: str, asked: Reference | None = None
    ) -> bool:
        """Whether a label was given this object there, and was not refused the repository since.

        ``asked`` is what it is to be served for, which the label must not have been told is gone: a
        tag, or an object that it lists.
        """
        if asked is not None and self.is_gone(repository, asked, label):
            return False
        given = self._index.moment(keys.given(repository, digest, label))
        closed = self._index.moment(keys.closed(repository, label))
        return given is not None and (closed is None or closed < given)

    @guarded
    def set_refused(self, repository: Repository, label: str) -> None:
        """Remember that upstream refuses a repository to a label."""
        self._index.put(keys.closed(repository, label), repr(self._clock()))

    @guarded
    def set_gone(self, repository: Repository, reference: Reference, label: str) -> None:
        """Remember that upstream told a label that an object or a tag is not there.

        Other labels keep it. Nothing is written of what nobody was ever given, so that who asks for
        a million names fills no disk.
        """
        if isinstance(reference, Tag):
            known = keys.tag(repository, reference.name)
        else:
            known = keys.link(repository, reference)
        if self._index.has(known, renew=False):
            self._index.put(keys.gone(repository, reference, label))
            if isinstance(reference, Digest):
                self._index.delete(keys.given(repository, reference, label))
                self._index.delete(keys.shown(repository, label, reference))

    @guarded
    def set_found(self, repository: Repository, reference: Reference, label: str) -> None:
        """Remember that an object or a tag that was gone for a label is there again."""
        key = keys.gone(repository, reference, label)
        if self._index.has(key, renew=False):
            self._index.delete(key)

    @guarded
    def is_gone(self, repository: Repository, reference: Reference, label: str) -> bool:
        """Whether upstream last told a label that an object or a tag is not there."""
        return self._index.has(keys.gone(repository, reference, label), renew=False)

"""What registries last answered to questions for lists, by whom they told it.

As with what was given (``past_grants``), by label: for somebody anonymous, and for each account as
which the proxy asks. What clients were told who brought a login of their own is kept only where an
administrator lets some networks have whatever is held (:data:`SOMEBODY`).
"""

from entrepot.protocol.identifiers import Origin
from entrepot.storage.capacity.eviction import Eviction
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.index_rows import IndexRows
from entrepot.storage.diskcache_db.list_rows import ListRows
from entrepot.storage.errors import Health, guarded
from entrepot.storage.lists.kept_list import KeptList, ListHead, ListName

_SECONDS = 5.0
"""By which a list may be younger than it is said to be."""

SOMEBODY = "somebody"
"""The label of all who show a login of their own: what the last of them was told."""


class Lists:
    """Lists by what was asked, and by label."""

    def __init__(
        self, rows: ListRows, index: IndexRows, eviction: Eviction, health: Health
    ) -> None:
        self._rows = rows
        self._index = index
        self._eviction = eviction
        self._health = health

    @guarded
    def head(self, name: ListName, label: str) -> ListHead | None:
        """What is known of a list that a label was told, and not refused since."""
        head = self._rows.head(_key(name, label))
        if head is None or name.repository is None:
            return head
        closed = self._index.moment(keys.closed(name.repository, label))
        return head if closed is None or closed < head.checked else None

    @guarded
    def read(self, name: ListName, label: str) -> KeptList | None:
        """The list itself; who asks has asked for its head before."""
        return self._rows.get(_key(name, label))

    @guarded
    def labels(self, name: ListName) -> list[str]:
        """Who was told this list, whoever that is."""
        part = keys.lists_of(name.origin, name.place)
        words = (part.rest(key).split(" ") for key in self._rows.keys(part))
        return [found[0] for found in words if found[1:] == [name.which]]

    @guarded
    def put(self, name: ListName, label: str, found: KeptList) -> bool:
        """Keep what a label was told; False where there is no room for it."""
        key, known = _key(name, label), self._rows.head(_key(name, label))
        if known is not None and known.hash == found.head.hash:
            if not _is_as_good(self.head(name, label), found.head):
                self._rows.confirm(key, found.head)
            return True
        if not (
            self._rows.fits(len(found.content)) and self._eviction.make_room(len(found.content))
        ):
            self._rows.delete(key)
            return False
        self._rows.put(key, found)
        return True

    @guarded
    def confirm(self, name: ListName, label: str, head: ListHead) -> None:
        """Remember that a list is what it was."""
        self._rows.confirm(_key(name, label), head)

    @guarded
    def forget(self, name: ListName, label: str) -> None:
        """Forget what a label was told."""
        self._rows.delete(_key(name, label))

    @guarded
    def forget_all(self, origin: Origin, place: str, label: str) -> None:
        """Forget all that a label was told of a repository, or of the registry itself."""
        self._rows.delete_all(keys.lists_of(origin, place, label))


def _is_as_good(known: ListHead | None, head: ListHead) -> bool:
    """Whether what is known says all but some seconds of its age: a write would be for nothing."""
    if known is None or (known.status, known.headers) != (head.status, head.headers):
        return False
    return 0 <= head.checked - known.checked < _SECONDS


def _key(name: ListName, label: str) -> str:
    return keys.kept_list(name.origin, name.place, label, name.which)

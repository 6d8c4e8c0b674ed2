"""Lists that clients were told who show a login of their own: in memory, while that counts.

As with all that such a client is given, what the registry allowed it counts for some minutes
(``auth.grants``), and nothing of it is written to the disk. A list stands there as an object of its
repository, for this login alone.
"""

from collections import OrderedDict
from collections.abc import Callable

from entrepot.auth.grants import Access, Asked
from entrepot.pull.lists.asked_list import AskedList
from entrepot.storage.lists.kept_list import KeptList

_LARGEST = 1024 * 1024
_MOST_BYTES = 8 * 1024 * 1024
_ROW_BYTES = 2048
"""What a list costs besides its content, generously."""


class OwnLoginLists:
    """The lists, the one told longest ago first."""

    def __init__(self, access: Access, clock: Callable[[], float]) -> None:
        self._access = access
        self._clock = clock
        self._lists: OrderedDict[str, KeptList] = OrderedDict()
        self._size = 0

    def find(self, asked: AskedList) -> KeptList | None:
        """What this login was told, while that counts."""
        found, repository = self._lists.get(asked.key), asked.name.repository
        if found is None or repository is None:
            return None
        if not self._access.is_allowed(repository, asked.who, asked.object, self._clock()):
            self.forget(asked)
            return None
        return found

    def keep(self, asked: AskedList, found: KeptList, when: Asked) -> None:
        """Remember what it was told when the registry was asked then.

        Nothing of what is no repository's: a refusal of that would not be heard.
        """
        repository = asked.name.repository
        self.forget(asked)
        if repository is None or len(found.content) > _LARGEST:
            return
        self._access.allow(repository, asked.who, (asked.object,), when)
        self._lists[asked.key] = found
        self._size += _cost(found)
        while self._size > _MOST_BYTES:
            self._drop(next(iter(self._lists)))

    def forget(self, asked: AskedList) -> None:
        """Forget what it was told of this."""
        self._drop(asked.key)

    def forget_all(self, asked: AskedList) -> None:
        """Forget what it was told of the repository."""
        for key in [key for key in self._lists if key.startswith(f"{asked.scope} ")]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        found = self._lists.pop(key, None)
        if found is not None:
            self._size -= _cost(found)


def _cost(found: KeptList) -> int:
    return len(found.content) + _ROW_BYTES

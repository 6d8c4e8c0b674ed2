"""A bounded table in which nobody takes more than a share.

What clients, or whoever else can name ever new things, make be remembered is bounded. In a plain
LRU one of them would push out what all others have; here each pushes out what is its own.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_EVERYBODY = ""


class Shares(Generic[K, V]):
    """Rows, each owned by who made it; what another one uses too is everybody's, without a share.

    The rows that were used longest ago go first: an owner's beyond ``share``, and any beyond
    ``most``.
    """

    def __init__(self, most: int, share: int) -> None:
        self._most = most
        self._share = share
        self._rows: OrderedDict[K, tuple[V, str]] = OrderedDict()
        self._owned: dict[str, OrderedDict[K, None]] = {}

    def __iter__(self) -> Iterator[K]:
        return iter(self._rows)

    def __contains__(self, key: K) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: K, by: str) -> V | None:
        """What is known of ``key``, which counts as used."""
        row = self._rows.get(key)
        if row is None:
            return None
        self.put(key, row[0], by)
        return row[0]

    def peek(self, key: K) -> V | None:
        """The same, used by nobody."""
        row = self._rows.get(key)
        return None if row is None else row[0]

    def put(self, key: K, value: V, by: str) -> None:
        """Remember ``value``; ``by`` is who wants that, empty for everybody."""
        known = self._rows.get(key)
        owner = by if known is None or known[1] == by else _EVERYBODY
        if known is not None and known[1] != owner:
            self._disown(key, known[1])
        self._rows[key] = (value, owner)
        self._rows.move_to_end(key)
        if owner != _EVERYBODY:
            own = self._owned.setdefault(owner, OrderedDict())
            own[key] = None
            own.move_to_end(key)
            if len(own) > self._share:
                self.forget(next(iter(own)))
        while len(self._rows) > self._most:
            self.forget(next(iter(self._rows)))

    def forget(self, key: K) -> None:
        """Leave out a row, if it is there."""
        row = self._rows.pop(key, None)
        if row is not None:
            self._disown(key, row[1])

    def _disown(self, key: K, owner: str) -> None:
        own = self._owned.get(owner)
        if own is not None:
            own.pop(key, None)
            if not own:
                del self._owned[owner]

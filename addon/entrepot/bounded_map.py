"""Maps that stay bounded, whoever may name ever new keys: what is oldest makes room.

What clients and registries make be remembered is bounded everywhere: forgetting a part of it costs
a question upstream, never more. :class:`BoundedMap` counts entries, :class:`FairMap` counts them
by who made them too.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, overload

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_EVERYBODY = ""


class BoundedMap(Mapping[K, V]):
    """At most ``most`` entries, from the oldest to the latest; one more pushes the oldest out.

    An entry is as old as the last :meth:`put` or :meth:`use` of its key; to read it is no use. So
    it is an LRU cache where each hit is a ``use``, else what was written longest ago goes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __getitem__(self, key: K) -> V:
        return self._entries[key]

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: V | T) -> V | T: ...
    def get(self, key: K, default: V | T | None = None) -> V | T | None:
        """The value of ``key``, which stays as old as it is."""
        return self._entries.get(key, default)

    def put(self, key: K, value: V, *, renew: bool = True) -> V | None:
        """Set a value; the one that it pushed out, if any.

        Without ``renew`` an entry that is there already stays as old as it is.
        """
        self._entries[key] = value
        if renew:
            self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            return self._entries.popitem(last=False)[1]
        return None

    def use(self, key: K) -> None:
        """Make an entry the latest. Raises ``KeyError``."""
        self._entries.move_to_end(key)

    def oldest(self) -> tuple[K, V] | None:
        """The entry that goes first; None where there is none."""
        return next(iter(self._entries.items()), None)

    def pop(self, key: K) -> V | None:
        """Take out an entry, if it is there."""
        return self._entries.pop(key, None)

    def clear(self) -> None:
        """Take out all."""
        self._entries.clear()


class FairMap(Generic[K, V]):
    """A bounded map in which nobody takes more than a share.

    In a plain one whoever can name ever new keys pushes out what all others have; here each pushes
    out what is its own. So this is for what strangers make be remembered.

    Rows, each owned by who made it; what another one uses too is everybody's, without a share.

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
        """The same, which does not count as used."""
        row = self._rows.get(key)
        return None if row is None else row[0]

    def put(self, key: K, value: V, by: str) -> None:
        """Set a value; ``by`` is who wants that, empty for everybody."""
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

    def owned(self, by: str) -> tuple[K, ...]:
        """The keys of the rows that are somebody's own, those used longest ago first."""
        return tuple(self._owned.get(by, ()))

    def forget(self, key: K) -> None:
        """Take out a row, if it is there."""
        row = self._rows.pop(key, None)
        if row is not None:
            self._disown(key, row[1])

    def _disown(self, key: K, owner: str) -> None:
        own = self._owned.get(owner)
        if own is not None:
            own.pop(key, None)
            if not own:
                del self._owned[owner]

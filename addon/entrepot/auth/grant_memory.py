"""The tables of grants: what upstream allowed whom, and what manifests list, in bounded bytes.

A grant holds what upstream allowed by itself: mostly one manifest. What a manifest lists is kept
once, whoever was allowed the manifest, since a digest names the same list for everybody: a client
that shows another credential each time costs a row, not a copy of the list.

All is plain bytes and numbers, in tables whose keys are bytes: the garbage collector has nothing
to follow there, however much is remembered. What does not fit is forgotten, the oldest first;
forgetting costs a question upstream, never more.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator

from entrepot.bounded_map import BoundedMap
from entrepot.protocol.identifiers import Digest

Decision = tuple[float, int]
"""Until when upstream's word counts, and the turn in which it was asked for (``grants.Asked``)."""

_MOST_IN_SCOPE = 1000
_SCOPE_BYTES = 600
_DECISION_BYTES = 220
_LISTING_BYTES = 450
_LISTED_BYTES = 130
"""What each costs, measured with tracemalloc on CPython 3.13, rounded up."""


class Grants:
    """Decisions by scope, which is one credential in one repository, and by digest."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._scopes: OrderedDict[bytes, dict[bytes, Decision]] = OrderedDict()
        self._decisions = 0

    def __len__(self) -> int:
        """How many scopes are remembered."""
        return len(self._scopes)

    @property
    def size(self) -> int:
        """About how much memory this takes, in bytes."""
        return len(self._scopes) * _SCOPE_BYTES + self._decisions * _DECISION_BYTES

    def add(self, scope: bytes, digest: bytes, decision: Decision, now: float) -> None:
        """Remember a decision, unless one is known that counts longer."""
        grant = self._scopes.setdefault(scope, {})
        known = grant.pop(digest, None)
        grant[digest] = decision if known is None else max(decision, known)
        self._decisions += known is None
        self._scopes.move_to_end(scope)
        while len(grant) > _MOST_IN_SCOPE or next(iter(grant.values()))[0] <= now < decision[0]:
            del grant[next(iter(grant))]
            self._decisions -= 1
        self._trim(now)

    def get(self, scope: bytes, digest: bytes) -> Decision | None:
        """The decision on an object itself."""
        return self._scopes.get(scope, {}).get(digest)

    def latest(self, scope: bytes) -> Iterator[tuple[bytes, Decision]]:
        """All decisions of a scope, the latest first."""
        return reversed(self._scopes.get(scope, {}).items())

    def drop(self, scope: bytes, digest: bytes | None = None) -> None:
        """Forget one decision of a scope, or all."""
        grant = self._scopes.get(scope, {})
        if digest is None:
            self._decisions -= len(self._scopes.pop(scope, {}))
        elif grant.pop(digest, None) is not None:
            self._decisions -= 1
            if not grant:
                del self._scopes[scope]

    def _trim(self, now: float) -> None:
        """Docker has a new token for each pull: those of yesterday would fill the memory."""
        while len(self._scopes) > 1:
            oldest, grant = next(iter(self._scopes.items()))
            until, _ = grant[next(reversed(grant))]
            if until > now and self.size <= self._most_bytes:
                return
            self.drop(oldest)


class Listings:
    """What manifests list, by digest."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        # A dict, not a set: the garbage collector walks through all of a set.
        self._listed: OrderedDict[bytes, dict[bytes, None]] = OrderedDict()
        self.size = 0
        """About how much memory this takes, in bytes."""

    def learn(self, manifest: Digest, listed: Callable[[], Collection[Digest]]) -> None:
        """Remember what a manifest lists, which is asked only where it is not known already.

        Its own bytes say so: it is the same for everybody.
        """
        if manifest.raw in self._listed:
            self._listed.move_to_end(manifest.raw)
            return
        entries = dict.fromkeys(one.raw for one in listed())
        self._listed[manifest.raw] = entries
        self.size += _cost(entries)
        while self.size > self._most_bytes:
            _, oldest = self._listed.popitem(last=False)
            self.size -= _cost(oldest)

    def lists(self, manifest: bytes, digest: bytes) -> bool:
        """Whether a manifest is known to list an object."""
        return digest in self._listed.get(manifest, ())


class Turns:
    """The last turns of what speaks against grants, by what it was of.

    Of what does not fit any more the latest turn counts, as if it were of everything.
    """

    def __init__(self, most: int) -> None:
        self._turns: BoundedMap[bytes, int] = BoundedMap(most)
        self._forgotten = 0

    def put(self, key: bytes, turn: int) -> None:
        """Remember that it was now."""
        forgotten = self._turns.put(key, turn)
        if forgotten is not None:
            self._forgotten = forgotten

    def last(self, key: bytes) -> int:
        """The last turn of this, or a later one."""
        return self._turns.get(key, self._forgotten)

    def known(self, key: bytes) -> int:
        """The last turn of this, as far as it is remembered; else 0."""
        return self._turns.get(key, 0)

    def __contains__(self, key: bytes) -> bool:
        """Whether it is remembered of this."""
        return key in self._turns

    def drop(self, key: bytes) -> None:
        """Let it not be so of this any more."""
        self._turns.pop(key)


def _cost(listed: dict[bytes, None]) -> int:
    return _LISTING_BYTES + len(listed) * _LISTED_BYTES

"""Which repositories and tags the cache holds that somebody may see, a page at a time.

Read from the keys of ``index``, in their order, by ranges: what a page costs does not depend on
how much else there is. A repository is seen where a manifest of it is held that its registry
last gave to somebody anonymous, or to the account as which the proxy asks for who wants to see
it, and where it refused nobody such since; a tag, where that is so of what it last was. So nothing
shows that somebody pulled with a login of their own.

Of what was given, lists look at the rows *shown* alone: those of manifests, in the order of the
names and of whom they were given to. One that is of no use any more, since the manifest was evicted
or the repository closed, is removed when it is met, and written again when the manifest is given
again: so what was looked at in vain is not looked at twice. A turn of the store's thread ends after
some milliseconds, wherever it is.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Collection, Iterator

import diskcache

from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.database import text_of

_SPACE_NEXT = "!"
"""The character after the space that ends a part of a key, and before all that names have."""
_NO_NAME = re.compile("[\\x00- ]")
"""What no name has, and would sort before the end of one."""
_MOST_LABELS = 2000
_AT_ONCE = 50
TURN_SECONDS = 0.005
"""After how long a turn ends: pulls need the store's thread too."""

_NEXT_KEY = (
    "SELECT CAST(key AS BLOB) FROM Cache WHERE key >= ? AND key < ? AND raw = 1"
    " ORDER BY key LIMIT 1"
)
_ROWS = (
    "SELECT rowid, CAST(key AS BLOB), CAST(value AS BLOB), expire_time FROM Cache"
    " WHERE key >= ? AND key < ? AND raw = 1 ORDER BY key LIMIT ?"
)
_HAS = "SELECT 1 FROM Cache WHERE key = ? AND raw = 1"
_REMOVE = "DELETE FROM Cache WHERE rowid = ?"


Labels = Callable[[str], Collection[str]]
"""By the name of a repository, as whom it may be seen: labels as in ``keys.given``."""


class Directory:
    """Lists; methods raise what SQLite raises. The ``after`` of each is not listed itself."""

    def __init__(
        self,
        index: diskcache.Cache,
        blobs: diskcache.Cache,
        clock: Callable[[], float],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` is the time of day, ``steady`` is never set."""
        self._index = index
        self._blobs = blobs
        self._clock = clock
        self._steady = steady

    def origins(self, most: int) -> list[Origin]:
        """The registries that gave something to somebody anonymous or to an account.

        At most so many.
        """
        found: list[Origin] = []
        start = "shown "
        for _ in range(most):
            key = self._next(start, f"shown{_SPACE_NEXT}")
            if key is None:
                break
            text = key.split(" ")[1]
            start = f"shown {text}{_SPACE_NEXT}"
            with contextlib.suppress(ValueError):  # a damaged row
                found.append(Origin.parse(text))
        return found

    def repositories(
        self, origin: Origin, labels: Labels, after: str, most: int
    ) -> tuple[list[str], str | None]:
        """Look at the next ``most`` names of a registry, or fewer: those to be seen, and the last.

        The last is None where the names have ended, and ``after`` where the first took too long:
        then the next turn has less to do.
        """
        prefix, end = f"shown {origin} ", f"shown {origin}{_SPACE_NEXT}"
        after = _NO_NAME.split(after, 1)[0]
        found: list[str] = []
        until = self._steady() + TURN_SECONDS
        for _ in range(most):
            key = self._next(f"{prefix}{after}{_SPACE_NEXT}" if after else prefix, end)
            name = "" if key is None else key.removeprefix(prefix).partition(" ")[0]
            if name <= after:  # the end, or a damaged row that would lead round
                return found, None
            seen = self._is_seen(origin, name, labels(name), until)
            if seen is None:
                break
            after = name
            if seen:
                found.append(name)
            if self._steady() >= until:
                break
        return found, after

    def tags(
        self, repository: Repository, labels: Labels, after: str, most: int
    ) -> tuple[list[str], str | None]:
        """The same of a repository's tags."""
        prefix = keys.tag(repository, "")
        start = f"{prefix}{after}{_SPACE_NEXT}" if after else prefix
        found, last, seen_as = [], None, labels(repository.name)
        until = self._steady() + TURN_SECONDS
        for _, key, value in self._rows(start, f"{prefix[:-1]}{_SPACE_NEXT}", most):
            last = key.removeprefix(prefix)
            told = [one for one in seen_as if not self._is_gone(repository, last, one)]
            if any(self._is_given(repository, digest, told) for digest in _digests(value)):
                found.append(last)
            if self._steady() >= until:
                break
        return found, last

    def forget(self, repository: Repository, digest: Digest) -> None:
        """Let nobody have been given an object."""
        prefix = keys.given(repository, digest, "")
        for _, key, _ in self._rows(prefix, f"{prefix[:-1]}{_SPACE_NEXT}", _MOST_LABELS):
            self._index.delete(key)
            self._index.delete(keys.shown(repository, key.removeprefix(prefix), digest))

    def _is_seen(
        self, origin: Origin, name: str, labels: Collection[str], until: float
    ) -> bool | None:
        """Whether a repository is; None where the time was up first."""
        try:
            repository = Repository(origin, name)
        except ValueError:
            return False  # a damaged row
        for label in labels:
            prefix = f"shown {origin} {name} {label}"
            closed = self._moment(keys.closed(repository, label))
            while some := list(self._rows(f"{prefix} ", f"{prefix}{_SPACE_NEXT}", _AT_ONCE)):
                vain = []
                for number, key, value in some:
                    digest = key.removeprefix(f"{prefix} ")
                    if _is_after(value, closed) and self._holds(origin, digest):
                        break
                    vain.append(number)
                self._remove(vain)
                if len(vain) < len(some):
                    return True
                if self._steady() >= until:
                    return None
        return False

    def _remove(self, numbers: list[int]) -> None:
        """Remove rows that even a key that is no text may have."""
        if numbers:
            with self._index.transact():
                for number in numbers:
                    self._index._sql(_REMOVE, (number,))  # noqa: SLF001 as in database

    def _is_given(self, repository: Repository, digest: str, labels: Collection[str]) -> bool:
        try:
            parsed = Digest.parse(digest)
        except ValueError:
            return False
        return self._holds(repository.origin, digest) and any(
            _is_after(value, self._moment(keys.closed(repository, label)))
            for label in labels
            for _, _, value in self._one(keys.given(repository, parsed, label))
        )

    def _is_gone(self, repository: Repository, tag: str, label: str) -> bool:
        return any(value for _, _, value in self._one(keys.gone(repository, tag, label)))

    def _moment(self, key: str) -> float | None:
        for _, _, value in self._one(key):
            return _time(value)
        return None

    def _one(self, key: str) -> Iterator[tuple[int, str, str]]:
        return self._rows(key, f"{key} ", 1)

    def _holds(self, origin: Origin, digest: str) -> bool:
        """Whether a manifest is held; looking does not count as use."""
        try:
            key = keys.manifest(origin, Digest.parse(digest))
        except ValueError:
            return False
        return self._blobs._sql(_HAS, (key,)).fetchone() is not None  # noqa: SLF001 as in database

    def _next(self, start: str, end: str) -> str | None:
        row = self._index._sql(_NEXT_KEY, (start, end)).fetchone()  # noqa: SLF001 as in database
        return None if row is None else text_of(row[0])

    def _rows(self, start: str, end: str, most: int) -> Iterator[tuple[int, str, str]]:
        """Numbers, keys from ``start`` to before ``end`` in order, and values.

        Those of what expired are empty.
        """
        now = self._clock()
        found = self._index._sql(_ROWS, (start, end, most)).fetchall()  # noqa: SLF001 as in database
        for number, key, value, expires in found:
            sound = expires is None or expires > now
            yield number, text_of(key), text_of(value) if sound else ""


def _is_after(text: str, moment: float | None) -> bool:
    time = _time(text)
    return time is not None and (moment is None or time > moment)


def _time(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _digests(value: str) -> set[str]:
    """What a tag last was, for each ``Accept``."""
    try:
        entries = json.loads(value).values()
        return {str(entry["digest"]) for entry in entries}
    except (ValueError, AttributeError, TypeError, KeyError):
        return set()  # a damaged row

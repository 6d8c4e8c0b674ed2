"""Which repositories and tags the cache holds that somebody may see, a page at a time.

Read from the keys of ``index``, in their order, by ranges: what a page costs does not depend on
how much else there is. A repository is seen where a manifest of it is held that its registry
last gave to somebody anonymous, or to the account as which the proxy asks for who wants to see
it, and where it refused nobody such since; a tag, where that is so of what it last was. So nothing
shows that somebody pulled with a login of their own.
"""

import contextlib
import json
import re
from collections.abc import Callable, Collection, Iterator

import diskcache

from entrepot import rows
from entrepot.database import text_of
from entrepot.reference import Digest, Origin, Repository

_SPACE_NEXT = "!"
"""The character after the space that ends a part of a key, and before all that names have."""
_NO_NAME = re.compile("[\\x00- ]")
"""What no name has, and would sort before the end of one."""
_MOST_OBJECTS = 2000
"""How many objects of a repository are looked at for a manifest that is held."""

_NEXT_KEY = (
    "SELECT CAST(key AS BLOB) FROM Cache WHERE key >= ? AND key < ? AND raw = 1"
    " ORDER BY key LIMIT 1"
)
_ROWS = (
    "SELECT CAST(key AS BLOB), CAST(value AS BLOB), expire_time FROM Cache"
    " WHERE key >= ? AND key < ? AND raw = 1 ORDER BY key LIMIT ?"
)
_HAS = "SELECT 1 FROM Cache WHERE key = ? AND raw = 1"


Labels = Callable[[str], Collection[str]]
"""By the name of a repository, as whom it may be seen: labels as in ``rows.given``."""


class Directory:
    """Lists; methods raise what SQLite raises. The ``after`` of each is not listed itself."""

    def __init__(
        self, index: diskcache.Cache, blobs: diskcache.Cache, clock: Callable[[], float]
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._clock = clock

    def origins(self, most: int) -> list[Origin]:
        """The registries that gave something to somebody anonymous or to an account.

        At most so many.
        """
        found: list[Origin] = []
        start = "given "
        for _ in range(most):
            key = self._next(start, f"given{_SPACE_NEXT}")
            if key is None:
                break
            text = key.split(" ")[1]
            start = f"given {text}{_SPACE_NEXT}"
            with contextlib.suppress(ValueError):  # a damaged row
                found.append(Origin.parse(text))
        return found

    def repositories(
        self, origin: Origin, labels: Labels, after: str, most: int
    ) -> tuple[list[str], str | None]:
        """Look at the next ``most`` names of a registry: those to be seen, and the last one.

        The last is None where the names have ended.
        """
        prefix, end = f"given {origin} ", f"given {origin}{_SPACE_NEXT}"
        after = _NO_NAME.split(after, 1)[0]
        found: list[str] = []
        start = f"{prefix}{after}{_SPACE_NEXT}" if after else prefix
        for _ in range(most):
            key = self._next(start, end)
            name = "" if key is None else key.removeprefix(prefix).partition(" ")[0]
            if name <= after:  # the end, or a damaged row that would lead round
                return found, None
            after = name
            start = f"{prefix}{after}{_SPACE_NEXT}"
            if self._is_seen(origin, after, labels(after)):
                found.append(after)
        return found, after

    def tags(
        self, repository: Repository, labels: Labels, after: str, most: int
    ) -> tuple[list[str], str | None]:
        """The same of a repository's tags."""
        prefix = rows.tag(repository, "")
        start = f"{prefix}{after}{_SPACE_NEXT}" if after else prefix
        found, last, seen_as = [], None, labels(repository.name)
        for key, value in self._rows(start, f"{prefix[:-1]}{_SPACE_NEXT}", most):
            last = key.removeprefix(prefix)
            told = [one for one in seen_as if not self._is_gone(repository, last, one)]
            if any(self._is_given(repository, digest, told) for digest in _digests(value)):
                found.append(last)
        return found, last

    def forget(self, repository: Repository, digest: Digest) -> None:
        """Let nobody have been given an object."""
        prefix = rows.given(repository, digest, "")
        for key, _ in self._rows(prefix, f"{prefix[:-1]}{_SPACE_NEXT}", _MOST_OBJECTS):
            self._index.delete(key)

    def _is_seen(self, origin: Origin, name: str, labels: Collection[str]) -> bool:
        try:
            repository = Repository(origin, name)
        except ValueError:
            return False  # a damaged row
        prefix = f"given {origin} {name}"
        closed = {label: self._moment(rows.closed(repository, label)) for label in labels}
        for key, value in self._rows(f"{prefix} ", f"{prefix}{_SPACE_NEXT}", _MOST_OBJECTS):
            digest, _, label = key.removeprefix(f"{prefix} ").partition(" ")
            if label in closed and _is_after(value, closed[label]) and self._holds(origin, digest):
                return True
        return False

    def _is_given(self, repository: Repository, digest: str, labels: Collection[str]) -> bool:
        try:
            parsed = Digest.parse(digest)
        except ValueError:
            return False
        return self._holds(repository.origin, digest) and any(
            _is_after(value, self._moment(rows.closed(repository, label)))
            for label in labels
            for _, value in self._one(rows.given(repository, parsed, label))
        )

    def _is_gone(self, repository: Repository, tag: str, label: str) -> bool:
        return any(value for _, value in self._one(rows.gone(repository, tag, label)))

    def _moment(self, key: str) -> float | None:
        for _, value in self._one(key):
            return _time(value)
        return None

    def _one(self, key: str) -> Iterator[tuple[str, str]]:
        return self._rows(key, f"{key} ", 1)

    def _holds(self, origin: Origin, digest: str) -> bool:
        """Whether a manifest is held; looking does not count as use."""
        try:
            key = rows.manifest(origin, Digest.parse(digest))
        except ValueError:
            return False
        return self._blobs._sql(_HAS, (key,)).fetchone() is not None  # noqa: SLF001 as in database

    def _next(self, start: str, end: str) -> str | None:
        row = self._index._sql(_NEXT_KEY, (start, end)).fetchone()  # noqa: SLF001 as in database
        return None if row is None else text_of(row[0])

    def _rows(self, start: str, end: str, most: int) -> Iterator[tuple[str, str]]:
        """Keys from ``start`` to before ``end`` in order, and values; of what expired, none."""
        now = self._clock()
        found = self._index._sql(_ROWS, (start, end, most)).fetchall()  # noqa: SLF001 as in database
        for key, value, expires in found:
            yield text_of(key), text_of(value) if expires is None or expires > now else ""


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

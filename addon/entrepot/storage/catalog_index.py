"""Which repositories and tags the cache holds that somebody may see, a page at a time.

A repository is listed where a manifest of it is held that its registry last gave to somebody
anonymous, or to the account as which the proxy asks for the client, and has not refused them since;
a tag, where that is so of the manifest that it last was. So nothing shows that somebody pulled with
a login of their own.

Lists are read from the keys of ``index``, in their order, by ranges: what a page costs does not
depend on how much else there is. Of what was given (``past_grants``), lists look at the rows
*shown* alone: those of manifests, in the order of the names and of whom they were given to. One
that is of no use any more, since the manifest was evicted or the repository refused, is removed
when it is met, and written again when the manifest is given again: so what was looked at in vain is
not looked at twice. A turn of the store's thread ends after some milliseconds, wherever it is.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Collection

from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.index_rows import IndexRows
from entrepot.storage.diskcache_db.manifest_rows import ManifestRows
from entrepot.storage.errors import Health, guarded
from entrepot.storage.startup.migration import Backfill

_NO_NAME = re.compile("[\\x00- ]")
"""What no name has, and would sort before the end of one."""
_AT_ONCE = 50
TURN_SECONDS = 0.005
"""After how long a turn ends: pulls need the store's thread too."""

Labels = Callable[[str], Collection[str]]
"""By the name of a repository, as whom it may be seen: labels as in ``keys.given``."""


class CatalogIndex:
    """Lists. The ``after`` of each is not listed itself."""

    def __init__(
        self,
        index: IndexRows,
        manifests: ManifestRows,
        backfill: Backfill,
        health: Health,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``steady`` is a clock that is never set."""
        self._index = index
        self._manifests = manifests
        self._backfill = backfill
        self._health = health
        self._steady = steady

    @guarded
    def prepare(self) -> bool:
        """Take over what an earlier version wrote, a turn of it; whether lists are whole."""
        return self._backfill.turn()

    @guarded
    def origins(self, most: int) -> list[Origin]:
        """The registries that gave something to somebody anonymous or to an account.

        At most so many.
        """
        found: list[Origin] = []
        start = keys.SHOWN.start
        for _ in range(most):
            key = self._index.next_key(start, keys.SHOWN.end)
            if key is None:
                break
            text = keys.SHOWN.word(key)
            start = keys.SHOWN.after(text)
            with contextlib.suppress(ValueError):  # a damaged row
                found.append(Origin.parse(text))
        return found

    @guarded
    def repositories(
        self, origin: Origin, labels: Labels, after: str, most: int
    ) -> tuple[list[str], str | None]:
        """Look at the next ``most`` names of a registry, or fewer: those to be seen, and the last.

        The last is None where the names have ended, and ``after`` where the first took too long:
        then the next turn has less to do.
        """
        shown = keys.shown_of(origin)
        after = _NO_NAME.split(after, 1)[0]
        found: list[str] = []
        until = self._steady() + TURN_SECONDS
        for _ in range(most):
            key = self._index.next_key(shown.after(after) if after else shown.start, shown.end)
            name = "" if key is None else shown.word(key)
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

    @guarded
    def tags(
        self, repository: Repository, labels: Labels, after: str, most: int
    ) -> tuple[list[str], str | None]:
        """The same of a repository's tags."""
        tags = keys.tags_of(repository)
        found, last, seen_as = [], None, labels(repository.name)
        until = self._steady() + TURN_SECONDS
        start = tags.after(after) if after else tags.start
        for _, key, value in self._index.between(start, tags.end, most):
            last = tags.rest(key)
            told = [one for one in seen_as if not self._is_gone(repository, last, one)]
            if any(self._is_given(repository, digest, told) for digest in _digests(value)):
                found.append(last)
            if self._steady() >= until:
                break
        return found, last

    def _is_seen(
        self, origin: Origin, name: str, labels: Collection[str], until: float
    ) -> bool | None:
        """Whether a repository is; None where the time was up first."""
        try:
            repository = Repository(origin, name)
        except ValueError:
            return False  # a damaged row
        for label in labels:
            shown = keys.shown_to(repository, label)
            closed = self._moment(keys.closed(repository, label))
            while some := list(self._index.between(shown.start, shown.end, _AT_ONCE)):
                vain = []
                for number, key, value in some:
                    if _is_after(value, closed) and self._holds(origin, shown.rest(key)):
                        break
                    vain.append(number)
                self._index.remove_numbers(vain)
                if len(vain) < len(some):
                    return True
                if self._steady() >= until:
                    return None
        return False

    def _is_given(self, repository: Repository, digest: str, labels: Collection[str]) -> bool:
        try:
            parsed = Digest.parse(digest)
        except ValueError:
            return False
        return self._holds(repository.origin, digest) and any(
            _is_after(given, self._moment(keys.closed(repository, label)))
            for label in labels
            if (given := self._index.peek(keys.given(repository, parsed, label)))
        )

    def _is_gone(self, repository: Repository, tag: str, label: str) -> bool:
        return bool(self._index.peek(keys.gone(repository, tag, label)))

    def _moment(self, key: str) -> float | None:
        return _time(self._index.peek(key))

    def _holds(self, origin: Origin, digest: str) -> bool:
        """Whether a manifest is held; looking does not count as use."""
        try:
            return self._manifests.has(origin, Digest.parse(digest))
        except ValueError:
            return False


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

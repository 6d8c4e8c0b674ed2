"""Lists of what is cached, as a registry gives them: repositories, and a repository's tags.

They are made of what is in the cache and never asked for upstream, and show only what anybody may
have, or the account as which the proxy asks for this client (``storage.catalog_index``). The form
is that of the distribution-spec and, to the byte, that of distribution's own registry; pages by
``n`` and ``last``, with a ``Link`` to the next.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self
from urllib.parse import parse_qs, urlencode

from entrepot.auth.accounts import Accounts
from entrepot.protocol import cache_status
from entrepot.protocol.account import ANYONE, NOBODY
from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.identifiers import Origin, Repository
from entrepot.protocol.messages import (
    API_VERSION,
    Answer,
    Fields,
    Request,
    error_answer,
)
from entrepot.storage.catalog_index import Labels
from entrepot.storage.store_thread import StoreThread

LARGEST_PAGE = 1000
_LEAST_AT_ONCE, _MOST_AT_ONCE = 20, 200
"""Names that one turn of the store's thread looks at, if it has the time: pulls need it too."""
_MOST_ORIGINS = 1000

Look = Callable[[str, int], Awaitable[tuple[list[str], str | None]]]
"""From a name on, so many are looked at: those that may be seen, and the last of all."""


@dataclass(frozen=True, slots=True)
class Page:
    """What part of a list is asked for: at most ``size`` entries after ``last``."""

    size: int
    last: str

    @classmethod
    def parse(cls, query: str) -> Self:
        """Read a query; ValueError where its ``n`` is no number from 0."""
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=20)
        size = fields.get("n", [str(LARGEST_PAGE)])[0]
        if not (size.isascii() and size.isdigit()):
            raise ValueError(f"expected a number from 0 as n, got {size[:20]!r}")
        return cls(min(int(size[:19]), LARGEST_PAGE), fields.get("last", [""])[0])


class CachedLists:
    """Answers GET and HEAD of `_catalog` and `tags/list`."""

    def __init__(self, store_thread: StoreThread, accounts: Accounts) -> None:
        self._store_thread = store_thread
        self._catalog = store_thread.store.catalog
        self._accounts = accounts

    async def origins(self) -> list[Origin]:
        """The registries of which something may be seen."""
        nothing: list[Origin] = []
        await self._prepared()
        return await self._store_thread.run(lambda: self._catalog.origins(_MOST_ORIGINS), nothing)

    async def catalog(
        self, request: Request, sections: Sequence[tuple[str, Origin]], link: Mapping[str, str]
    ) -> Answer:
        """The repositories of some registries; what each section's names begin with comes first.

        ``link`` are fields that the query of the next page needs besides ``n`` and ``last``.
        """
        try:
            page = Page.parse(request.query)
        except ValueError as error:
            return error_answer(400, "PAGINATION_NUMBER_INVALID", str(error))
        await self._prepared()
        found: list[str] = []
        for prefix, origin in sorted(sections):
            after = page.last.removeprefix(prefix) if page.last.startswith(prefix) else ""
            if not page.last.startswith(prefix) and prefix < page.last:
                continue
            look = partial(self._repositories, origin, self._labels(request, origin))
            found += [prefix + name for name in await _first(look, after, page.size - len(found))]
            if len(found) > page.size:
                break
        document = {"repositories": found[: page.size]}
        return _answer(request, document, _next(page, found), link, cache_status.CATALOG)

    async def tags(
        self, request: Request, repository: Repository, name: str, link: Mapping[str, str]
    ) -> Answer:
        """The tags of a repository, which its client calls ``name``."""
        try:
            page = Page.parse(request.query)
        except ValueError as error:
            return error_answer(400, "PAGINATION_NUMBER_INVALID", str(error))
        look = partial(self._tags, repository, self._labels(request, repository.origin))
        found = await _first(look, page.last, page.size)
        if not found and not await _first(look, "", 0):
            message = "repository name not known to registry"
            return error_answer(404, "NAME_UNKNOWN", message, name=name)
        document = {"name": name, "tags": found[: page.size]}
        return _answer(request, document, _next(page, found), link, cache_status.TAGS)

    async def _prepared(self) -> None:
        """Wait until the store's lists are whole: an earlier version wrote none."""
        while not await self._store_thread.run(self._catalog.prepare, otherwise=True):
            pass

    def _labels(self, request: Request, origin: Origin) -> Labels:
        """As whom a client may see a registry's repositories."""

        def labels(name: str) -> frozenset[str]:
            account = self._accounts.of(origin, name, request.client) or NOBODY
            return frozenset({ANYONE, account.label})

        return labels

    async def _repositories(
        self, origin: Origin, labels: Labels, after: str, most: int
    ) -> tuple[list[str], str | None]:
        nothing = _nothing()
        return await self._store_thread.run(
            lambda: self._catalog.repositories(origin, labels, after, most), nothing
        )

    async def _tags(
        self, repository: Repository, labels: Labels, after: str, most: int
    ) -> tuple[list[str], str | None]:
        nothing = _nothing()
        return await self._store_thread.run(
            lambda: self._catalog.tags(repository, labels, after, most), nothing
        )


def _nothing() -> tuple[list[str], str | None]:
    return [], None


async def _first(look: Look, after: str, most: int) -> list[str]:
    """The first ``most`` entries and one more, where there is one."""
    found: list[str] = []
    last: str | None = after
    while last is not None and len(found) <= most:
        wanted = most + 1 - len(found)
        seen, last = await look(last, min(max(wanted, _LEAST_AT_ONCE), _MOST_AT_ONCE))
        found += seen
    return found[: most + 1]


def _next(page: Page, found: list[str]) -> tuple[Page, str] | None:
    """The page and its last entry, where another page follows; none follows an empty one."""
    return (page, found[page.size - 1]) if 0 < page.size < len(found) else None


def _answer(
    request: Request,
    document: Mapping[str, object],
    after: tuple[Page, str] | None,
    link: Mapping[str, str],
    how: CacheStatus,
) -> Answer:
    """``document`` in JSON; ``after`` is the page and its last entry where there is a next page."""
    content = f"{json.dumps(document, separators=(',', ':'))}\n".encode()
    headers: Fields = (
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Length", str(len(content))),
        API_VERSION,
        how,
    )
    if after is not None:
        page, last = after
        query = urlencode({"last": last, "n": page.size, **link})
        headers = (*headers, ("Link", f'<{request.path}?{query}>; rel="next"'))
    return Answer(200, headers, b"" if request.method == "HEAD" else content)

"""The API: what the page shows, as JSON; `docs/page.md` describes each member."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from entrepot.admin.data.figures import as_series
from entrepot.admin.data.periods import Window, period_of
from entrepot.admin.data.reader import Reader
from entrepot.admin.data.record_queries import filter_of, number_of, time_of
from entrepot.admin.data.settings_table import settings_table
from entrepot.admin.data.setup_lines import recipes
from entrepot.admin.site.pages import Pages
from entrepot.endpoints.setup.command_line import setup_line
from entrepot.observe.reading import RecordsUnreadableError, StoredRequest

_MOST = 1000
_PAGE = 100

DESCRIPTIONS: Mapping[str, str] = {
    "/api/state": "readiness, downloads, use of the disk, counters",
    "/api/figures": "sums of a time, and a series for charts: period, or since and until",
    "/api/images": "images: filter, sort (name, size, used), offset, limit",
    "/api/image": "one image and what it is made of: name",
    "/api/registries": "how much there is of each registry",
    "/api/evicted-next": "what gives way first: limit",
    "/api/upstreams": "how each upstream host does",
    "/api/clients": "clients of a period, and those that do not trust the CA: period, limit",
    "/api/requests": "the request log: client, registry, repository, outcome, before, limit",
    "/api/setup": "the lines to run at clients",
    "/api/settings": "the settings in force, without secrets",
}


class Api:
    """Answers with JSON."""

    def __init__(self, reader: Reader, pages: Pages) -> None:
        self._reader = reader
        self._pages = pages

    async def index(self, request: Request) -> Response:
        """What there is to ask."""
        del request
        changes = {
            f"/api/images/{action}": "POST {'names': […]}, with the token"
            for action in ("remove", "pin", "unpin")
        }
        return JSONResponse({"version": self._reader.sources.version, **DESCRIPTIONS, **changes})

    async def state(self, request: Request) -> Response:
        """How the proxy is now."""
        del request
        live = await self._reader.live()
        return JSONResponse(
            {
                "at": live.at,
                "version": self._reader.sources.version,
                "started": self._reader.sources.started,
                "problems": [asdict(one) for one in live.problems],
                "usage": asdict(live.usage) if live.usage is not None else None,
                "downloads": [{**asdict(one), "left": one.left} for one in live.fetches],
                "counters": dict(sorted(live.counters.items())),
            }
        )

    async def figures(self, request: Request) -> Response:
        """Sums and series."""
        query, now = request.query_params, self._reader.sources.wall()
        since, until = time_of(query, "since"), time_of(query, "until")
        if since is None:
            since = (until or now) - period_of(query.get("period")).seconds
        try:
            found = await self._reader.figures(Window.make(since, until or now, now))
        except RecordsUnreadableError as error:
            return JSONResponse({"error": str(error)}, 503)
        return JSONResponse(as_series(found))

    async def images(self, request: Request) -> Response:
        """A page of images."""
        query = request.query_params
        return await self._asked(
            {
                "do": "images",
                "filter": query.get("filter", ""),
                "sort": query.get("sort", "name"),
                "offset": number_of(query, "offset", 0, 2**53),
                "limit": number_of(query, "limit", _PAGE, _MOST),
            }
        )

    async def image(self, request: Request) -> Response:
        """One image."""
        return await self._asked({"do": "image", "name": request.query_params.get("name", "")})

    async def registries(self, request: Request) -> Response:
        """Sums by registry."""
        limit = number_of(request.query_params, "limit", _PAGE, _MOST)
        return await self._asked({"do": "registries", "limit": limit})

    async def evicted_next(self, request: Request) -> Response:
        """What gives way first."""
        limit = number_of(request.query_params, "limit", _PAGE, _MOST)
        return await self._asked({"do": "evicted_next", "limit": limit})

    async def _asked(self, request: Mapping[str, object]) -> Response:
        answer = await self._reader.ask(request)
        statuses = {"bad_request": 400, "not_cached": 404}
        status = 200 if answer["ok"] else statuses.get(str(answer.get("code")), 503)
        return JSONResponse(answer, status)

    async def upstreams(self, request: Request) -> Response:
        """How each upstream host does."""
        del request
        live = await self._reader.live()
        return JSONResponse({host: asdict(state) for host, state in live.upstreams.items()})

    async def clients(self, request: Request) -> Response:
        """Clients by what they pulled."""
        query, live = request.query_params, await self._reader.live()
        since = self._reader.sources.wall() - period_of(query.get("period")).seconds
        limit, records = number_of(query, "limit", _PAGE, _MOST), self._reader.records
        try:
            found = await self._reader.of_records(lambda: records.clients(since, limit))
        except RecordsUnreadableError as error:
            return JSONResponse({"error": str(error)}, 503)
        clients = [
            {
                "client": one.names[0],
                "agent": one.names[1],
                "pulls": one.pulls,
                "requests": one.requests,
                "failed": one.failed,
                "sent": one.sent,
                "from_upstream": one.from_upstream,
                "last": one.last,
            }
            for one in found
        ]
        return JSONResponse({"clients": clients, "untrusting": list(live.untrusting)})

    async def requests(self, request: Request) -> Response:
        """A page of the log, the latest first."""
        query = request.query_params
        before = number_of(query, "before", 0, 2**53) or None
        limit, wanted = number_of(query, "limit", _PAGE, _MOST), filter_of(query)
        records = self._reader.records
        try:
            found = await self._reader.of_records(
                lambda: records.requests(wanted, before=before, most=limit)
            )
        except RecordsUnreadableError as error:
            return JSONResponse({"error": str(error)}, 503)
        following = found[-1].number if found and len(found) == limit else None
        return JSONResponse({"requests": [_request(one) for one in found], "before": following})

    async def setup(self, request: Request) -> Response:
        """What to run at clients."""
        authority = (await self._reader.live()).authority
        proxy, fingerprint = self._pages.proxy_address(request), str(authority["fingerprint"])
        return JSONResponse(
            {
                "proxy": str(proxy),
                **authority,
                "line": setup_line(proxy, fingerprint),
                "recipes": {one.key: one.lines for one in recipes(proxy, fingerprint)},
            }
        )

    async def settings(self, request: Request) -> Response:
        """The settings."""
        del request
        live = await self._reader.live()
        limit = live.usage.limit if live.usage is not None else None
        table = settings_table(self._reader.sources.config, limit)
        return JSONResponse({one.name: one.value for one in table})


def _request(found: StoredRequest) -> dict[str, Any]:
    record = asdict(found.record)
    return {
        "number": found.number,
        "pull": found.pull,
        **record,
        "road": found.record.road.value,
        "outcome": found.record.outcome.value,
    }

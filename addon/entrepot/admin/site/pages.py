"""The pages, and the parts of each that are asked for again while somebody looks at it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from entrepot.admin.data.reader import Reader
from entrepot.admin.data.settings_table import settings_table
from entrepot.admin.data.setup_lines import MEASURE, recipes
from entrepot.admin.site.parts import activity, images, overview
from entrepot.admin.site.rendering import Rendering
from entrepot.admin.site.words import seconds_of
from entrepot.endpoints.setup.cache_address import CacheAddress
from entrepot.endpoints.setup.command_line import setup_line

Context = dict[str, Any]
Part = Callable[[Reader, Mapping[str, str]], Awaitable[Context]]

PARTS: Mapping[str, Part] = {
    "numbers": overview.numbers,
    "downloads": overview.downloads,
    "attention": overview.attention,
    "tops": overview.tops,
    "upstreams_brief": overview.upstreams_brief,
    "evicted_brief": overview.evicted_brief,
    "images": images.images,
    "evicted": images.evicted,
    "requests": activity.requests,
    "upstreams": overview.upstreams,
    "clients": activity.clients,
    "measured": activity.measured,
}
"""Each part with what its template, `parts/NAME.html`, is given."""

LIVE: Mapping[str, tuple[str, ...]] = {
    "overview": (
        "numbers",
        "downloads",
        "attention",
        "tops",
        "upstreams_brief",
        "evicted_brief",
    ),
    "images": ("images",),
    "evicted": ("evicted",),
    "requests": ("requests",),
    "upstreams": ("upstreams",),
    "clients": ("clients",),
    "setup": ("measured",),
}
"""Which parts each page has."""

_DAY = 86400.0


class Pages:
    """Makes pages out of parts."""

    def __init__(self, reader: Reader, rendering: Rendering) -> None:
        self._reader = reader
        self._rendering = rendering

    def of(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of a page that is all parts."""

        async def page(request: Request) -> Response:
            parts = await self._parts(name, request)
            return self._rendering.page(
                name, request, parts=parts, query=dict(request.query_params), **await self._state()
            )

        return page

    async def live(self, request: Request) -> Response:
        """The parts of a page alone, to be put in the place of those that are shown."""
        name = str(request.path_params["name"])
        if name not in LIVE:
            return Response("no such page\n", 404, media_type="text/plain")
        given = {**await self._state(), "parts": await self._parts(name, request)}
        return HTMLResponse(self._rendering.render("live.html", request, **given))

    async def _parts(self, name: str, request: Request) -> dict[str, str]:
        """The HTML of each part; what they wait for, they wait for at the same time."""
        query, parts = request.query_params, LIVE[name]
        asker = request.client.host if request.client is not None else ""
        asked = {**query, activity.ASKER: asker}
        given = await asyncio.gather(*(PARTS[part](self._reader, asked) for part in parts))
        return {
            part: self._rendering.render(f"parts/{part}.html", request, query=query, **its)
            for part, its in zip(parts, given, strict=True)
        }

    async def _state(self) -> Context:
        """What each page says of the proxy as a whole."""
        live = await self._reader.live()
        return {
            "problems": live.problems,
            "busy": len(live.fetches),
            "untrusting_count": len(live.untrusting),
        }

    async def image(self, request: Request) -> Response:
        """One image and what it is made of."""
        given = await images.image(self._reader, request.query_params)
        status = 200 if given["answer"] else 404
        return self._rendering.page(
            "image", request, status, title="Image", **given, **await self._state()
        )

    async def setup(self, request: Request) -> Response:
        """The lines to run at clients."""
        live, sources = await self._reader.live(), self._reader.sources
        proxy, fingerprint = self.proxy_address(request), str(live.authority["fingerprint"])
        expires = seconds_of(str(live.authority["expires"]))
        return self._rendering.page(
            "setup",
            request,
            proxy=proxy,
            fingerprint=fingerprint,
            expires=expires,
            expires_soon=expires < sources.wall() + 30 * _DAY,
            rotation=live.authority["rotation"],
            line=setup_line(proxy, fingerprint),
            recipes=recipes(proxy, fingerprint),
            measure=MEASURE,
            parts=await self._parts("setup", request),
            **await self._state(),
        )

    def proxy_address(self, request: Request) -> CacheAddress:
        """The proxy's address, by the name under which somebody reads this page."""
        port = self._reader.sources.proxy_port() or self._reader.sources.config.listen.port
        return CacheAddress.parse(request.headers.get("host", ""), port)

    async def settings(self, request: Request) -> Response:
        """The settings in force."""
        live, sources = await self._reader.live(), self._reader.sources
        limit = live.usage.limit if live.usage is not None else None
        return self._rendering.page(
            "settings",
            request,
            settings=settings_table(sources.config, limit),
            accounts=[str(origin) for one in sources.config.accounts for origin in one.origins],
            usage=live.usage,
            data=str(sources.config.data),
            **await self._state(),
        )

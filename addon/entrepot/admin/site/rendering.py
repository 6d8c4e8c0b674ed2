"""Rendering: the templates, and what each of them is given."""

from typing import Any

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from entrepot.admin.access.guard import SESSION
from entrepot.admin.data.reader import Reader
from entrepot.admin.site import words
from entrepot.admin.site.static_files import StaticFiles

PAGES = (
    ("overview", "/", "Overview"),
    ("images", "/ui/images", "Images"),
    ("requests", "/ui/requests", "Requests"),
    ("upstreams", "/ui/upstreams", "Upstreams"),
    ("clients", "/ui/clients", "Clients"),
    ("setup", "/ui/setup", "Set up a client"),
    ("settings", "/ui/settings", "Settings"),
)
"""Each page: its name, its path and its title."""

_FILTERS = (
    words.number,
    words.size,
    words.size_parts,
    words.duration,
    words.milliseconds,
    words.ago,
    words.clock_time,
    words.date,
    words.date_of,
    words.short_digest,
    words.short_reference,
    words.breakable,
)


class Rendering:
    """Makes HTML of templates; every text of others is escaped."""

    def __init__(self, reader: Reader, static: StaticFiles) -> None:
        self._reader = reader
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("entrepot.admin"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {one.__name__: one for one in _FILTERS}
        self._environment.globals |= {
            "static": static.address,
            "pages": PAGES,
            "percent": words.percent,
            "icon": icon,
        }

    def render(self, template: str, request: Request, **given: Any) -> str:
        """The text of a template."""
        sources = self._reader.sources
        return self._environment.get_template(template).render(
            now=sources.wall(),
            version=sources.version,
            started=sources.started,
            session=request.scope.get(SESSION),
            here=_address(request),
            **given,
        )

    def page(self, name: str, request: Request, status: int = 200, **given: Any) -> HTMLResponse:
        """The answer of a whole page."""
        titles = {page: title for page, _, title in PAGES}
        title = given.pop("title", titles.get(name, "Entrepôt"))
        text = self.render(f"{name}.html", request, page=name, title=title, **given)
        return HTMLResponse(text, status)


def icon(name: str) -> Markup:
    """A picture of the sprite; what it means is said beside it."""
    return Markup(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="#i-{}"/></svg>'
    ).format(name)


def _address(request: Request) -> str:
    """Path and query, to come back to."""
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path

"""The application: which route is answered by what, behind the guard."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from entrepot.admin.access.admin_token import AdminToken
from entrepot.admin.access.guard import SIGN_IN, Access, Guard
from entrepot.admin.access.host_names import HostNames
from entrepot.admin.access.readers import Readers
from entrepot.admin.access.sessions import Sessions
from entrepot.admin.access.sign_in_throttle import SignInThrottle
from entrepot.admin.data.reader import Reader
from entrepot.admin.data.sources import Sources
from entrepot.admin.site.api import Api
from entrepot.admin.site.changes import ACTIONS, Changes
from entrepot.admin.site.pages import Pages
from entrepot.admin.site.rendering import PAGES, Rendering
from entrepot.admin.site.sign_in import SignIn
from entrepot.admin.site.static_files import StaticFiles


def make_application(sources: Sources, token: AdminToken) -> Guard:
    """Put it together. Raises OSError or ValueError where the token cannot be had."""
    token.prepare()
    names = HostNames(sources.config.admin_host)
    names.learn_own()
    access = Access(
        names,
        Readers(sources.config.admin_allow, sources.config.allow_client),
        token,
        Sessions(sources.clock),
        SignInThrottle(sources.clock),
        sources.events,
        sources.config.admin_closed,
    )
    reader, static = Reader(sources), StaticFiles()
    rendering = Rendering(reader, static)
    return Guard(Starlette(routes=_routes(reader, rendering, static, access)), access)


def _routes(
    reader: Reader, rendering: Rendering, static: StaticFiles, access: Access
) -> list[Route]:
    pages, sign_in = Pages(reader, rendering), SignIn(access, rendering)
    of_their_own = {"setup": pages.setup, "settings": pages.settings}
    changes = Changes(reader)
    return [
        *(Route(path, of_their_own.get(name) or pages.of(name)) for name, path, _ in PAGES),
        Route("/ui", _home),
        Route("/ui/", _home),
        Route("/ui/images/next", pages.of("evicted")),
        Route("/ui/image", pages.image),
        Route("/ui/live/{name}", pages.live),
        Route("/ui/static/{version}/{name:path}", static.answer),
        Route(SIGN_IN, sign_in.show, methods=["GET"]),
        Route(SIGN_IN, sign_in.sign_in, methods=["POST"]),
        Route("/ui/sign-out", sign_in.sign_out, methods=["POST"]),
        *_api(Api(reader, pages)),
        *(
            Route(f"/api/images/{action}", changes.of(action), methods=["POST"])
            for action in ACTIONS
        ),
    ]


async def _home(request: Request) -> Response:
    del request
    return RedirectResponse("/")


def _api(api: Api) -> list[Route]:
    endpoints = {
        "": api.index,
        "/": api.index,
        "/state": api.state,
        "/figures": api.figures,
        "/images": api.images,
        "/image": api.image,
        "/registries": api.registries,
        "/evicted-next": api.evicted_next,
        "/upstreams": api.upstreams,
        "/clients": api.clients,
        "/requests": api.requests,
        "/setup": api.setup,
        "/settings": api.settings,
    }
    return [Route(f"/api{path}", endpoint) for path, endpoint in endpoints.items()]

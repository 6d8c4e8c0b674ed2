"""Signing in with the token, and out again."""

import asyncio
import contextlib
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from entrepot.admin.access.guard import Access, client_of, cookie_of
from entrepot.admin.access.sessions import COOKIE
from entrepot.admin.site.rendering import Rendering
from entrepot.events.table import Event

_MOST_BYTES = 64 * 1024
_PATIENCE_SECONDS = 20.0


class SignIn:
    """The form, and what it does."""

    def __init__(self, access: Access, rendering: Rendering) -> None:
        self._access = access
        self._rendering = rendering

    async def show(self, request: Request) -> Response:
        """The form."""
        return self._form(request, _next(request.query_params.get("next", "")))

    async def sign_in(self, request: Request) -> Response:
        """Compare what was typed, and begin a session."""
        form, client = await form_of(request), client_of(request.scope)
        back = _next(form.get("next", ""))
        if wait := self._access.throttle.wait(client):
            problem = f"Too many wrong tokens: wait {int(wait) + 1} seconds."
            return self._form(request, back, problem, 429)
        if not self._access.token.is_shown(form.get("token", "")):
            self._access.throttle.failed(client)
            self._access.events.log_once(
                Event.PAGE_REFUSED, client=client, reason="that is not the token"
            )
            return self._form(request, back, "That is not the token.", 403)
        self._access.throttle.succeeded(client)
        self._access.events.log(Event.PAGE_SIGNED_IN, client=client)
        answer = RedirectResponse(back, 303)
        cookie = self._access.sessions.begin(client)
        answer.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", path="/")
        return answer

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        self._access.sessions.end(cookie_of(request.headers))
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", path="/")
        return answer

    def _form(self, request: Request, back: str, problem: str = "", status: int = 200) -> Response:
        token = self._access.token
        return self._rendering.page(
            "sign_in",
            request,
            status,
            title="Sign in",
            back=back,
            problem=problem,
            token_file=str(token.file) if token.is_in_file else "",
        )


def _next(text: str) -> str:
    """Where to go afterwards: a path of ours, never another site."""
    fits = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if fits and text.isprintable() and text.isascii() else "/"


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, of a bounded size; none where it is another kind of content."""
    content = await content_of(request)
    return dict(parse_qsl(content.decode("utf-8", "replace"), max_num_fields=20))


async def content_of(request: Request) -> bytes:
    """What was sent; empty where it is too much, or takes too long."""
    content = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > _MOST_BYTES:
                    return b""
            return content
    return b""

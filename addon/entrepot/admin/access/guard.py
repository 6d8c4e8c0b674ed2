"""The guard before every route: who may read, who may change, and what is said to the others.

In this order: the host name (421), the client's address (403), and where reading is closed, or
something is to change, who shows the token: by ``Authorization: Bearer`` or by a session's cookie.
A browser sends a cookie whoever made the request; so with one it also takes the session's own
``X-CSRF-Token``, and that no other site made it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response

from entrepot.admin.access.admin_token import AdminToken
from entrepot.admin.access.headers import SECURITY
from entrepot.admin.access.host_names import HostNames
from entrepot.admin.access.readers import Readers
from entrepot.admin.access.same_origin import is_same_origin
from entrepot.admin.access.sessions import COOKIE, Session, Sessions
from entrepot.admin.access.sign_in_throttle import SignInThrottle
from entrepot.events.log import Events
from entrepot.events.table import Event

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

SIGN_IN = "/ui/sign-in"
SESSION = "entrepot.session"
"""Key of the scope: the :class:`Session` of who is signed in, or None."""
READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Access:
    """What decides who may do what."""

    names: HostNames
    readers: Readers
    token: AdminToken
    sessions: Sessions
    throttle: SignInThrottle
    events: Events
    is_closed: bool
    """Whether reading takes the token, too."""


class Guard:
    """Answers who may not, and hands on the others' requests."""

    def __init__(self, inner: Application, access: Access) -> None:
        self._inner = inner
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def send_secured(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                fields = MutableHeaders(scope=message)
                for name, value in SECURITY:
                    fields[name] = value
                fields.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._judge(scope)
        await (refusal or self._inner)(scope, receive, send_secured)

    def _judge(self, scope: Scope) -> Response | None:
        """What somebody is told who may not; None where the request goes on."""
        headers, client = Headers(scope=scope), client_of(scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.names.include(hosts[0]):
            return self._refuse(client, 421, "this is no name of the proxy: see --admin-host")
        if not self._access.readers.include(client):
            return self._refuse(client, 403, f"{client} may not read the page: see --admin-allow")
        if self._access.throttle.wait(client) and "authorization" in headers:
            return _told(429, "too many wrong tokens: wait a minute")
        session = scope[SESSION] = self._session(headers, client)
        if scope["method"] not in READING:
            return self._judge_change(scope, headers, client, session)
        if self._access.is_closed and session is None and not _is_open(scope["path"]):
            return self._ask_for_token(scope, headers, client)
        return None

    def _judge_change(
        self, scope: Scope, headers: Headers, client: str, session: Session | None
    ) -> Response | None:
        by_cookie = "authorization" not in headers
        if by_cookie and not is_same_origin(headers):
            return self._refuse(client, 403, "another site made this request")
        if scope["path"] == SIGN_IN:
            return None
        if session is None:
            return self._ask_for_token(scope, headers, client)
        if by_cookie and not session.owns(headers.get("x-csrf-token", "")):
            return self._refuse(client, 403, "expected X-CSRF-Token of this session")
        return None

    def _session(self, headers: Headers, client: str) -> Session | None:
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if self._access.token.is_shown(shown):
                return Session(client, "", 0.0)
            self._access.throttle.failed(client)
            return None
        cookie = cookie_of(headers)
        return self._access.sessions.of(cookie) if cookie else None

    def _ask_for_token(self, scope: Scope, headers: Headers, client: str) -> Response:
        if "authorization" in headers:
            return self._refuse(client, 401, "that is not the token")
        if scope["path"].startswith("/api"):
            return _told(401, "sign in, or show the token: Authorization: Bearer TOKEN")
        return RedirectResponse(SIGN_IN, 303)

    def _refuse(self, client: str, status: int, reason: str) -> Response:
        self._access.events.log_once(Event.PAGE_REFUSED, client=client, reason=reason)
        return _told(status, reason)


def _is_open(path: str) -> bool:
    """Whether a path is one that somebody needs who is to sign in."""
    return path == SIGN_IN or path.startswith("/ui/static/")


def _told(status: int, reason: str) -> Response:
    """An answer for programs and people: one line of JSON."""
    answer = JSONResponse({"error": reason}, status)
    if status == 401:
        answer.headers["www-authenticate"] = 'Bearer realm="entrepot"'
    return answer


def client_of(scope: Scope) -> str:
    """The address of who asks."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def cookie_of(headers: Headers) -> str:
    """The session's cookie; empty where there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""

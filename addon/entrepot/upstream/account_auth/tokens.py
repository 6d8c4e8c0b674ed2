"""Tokens that a token server gives to an account, or to nobody.

By ``GET`` with the login, or with none (distribution's token specification), or by the OAuth2 form
where the login is an identity token.
"""

import base64
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from entrepot.auth.token_requests import MAX_SIZE, Issued, parse_issued
from entrepot.http_client.client import HttpClient
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.protocol.account import Login, LoginKind
from entrepot.protocol.headers import Challenge
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields
from entrepot.protocol.network_reach import Reach
from entrepot.protocol.statuses import is_no_answer

_EARLY_SECONDS = 10.0
"""How long before its end a token is not used any more, at most half of its life."""
_BODY_SECONDS = 10.0
_CLIENT_ID = "entrepot"


@dataclass(frozen=True, slots=True)
class AuthorizationHeader:
    """What to show as ``Authorization``, and until when; the time is that of the caller's clock."""

    value: str
    until: float = float("inf")


class AccountTokens:
    """Asks token servers; safe to use from many threads."""

    def __init__(self, upstream: HttpClient, clock: Callable[[], float]) -> None:
        self._upstream = upstream
        self._clock = clock
        self._lock = threading.Lock()
        self._answered: set[Origin] = set()

    def take_answered(self) -> set[Origin]:
        """The token servers that answered since this was last called."""
        with self._lock:
            answered, self._answered = self._answered, set()
        return answered

    def ask(
        self,
        realm: Target,
        reach: Reach,
        challenge: Challenge,
        name: str,
        login: Login | None,
        until: float,
    ) -> tuple[int, AuthorizationHeader | None]:
        """Ask a token server: its status, and the token that it gives.

        ``name`` is the repository where the challenge names no scope; ``until`` a deadline of
        ``time.monotonic``. Raises ``UpstreamError``.
        """
        began, wanted = self._clock(), _wanted(challenge, name)
        method, path, fields, content = _token_request(realm.path, wanted, login)
        with self._upstream.send(
            method,
            Target(realm.origin, path),
            (*fields, ("Accept", "application/json"), ("Accept-Encoding", "identity")),
            SendOptions(Follow.NO, reach=reach, seconds=until - time.monotonic()),
            content,
        ) as reply:
            with self._lock:
                self._answered.add(realm.origin)
            if is_no_answer(reply.status):
                raise UpstreamError(f"{realm.origin}: it answered {reply.status}", passing=True)
            issued = _read_issued(reply) if reply.status == 200 else None
        if issued is None or not _is_sendable(issued.tokens[0]):
            return reply.status, None
        early = min(_EARLY_SECONDS, issued.seconds / 2)
        return 200, AuthorizationHeader(
            f"Bearer {issued.tokens[0]}", began + issued.seconds - early
        )


def _read_issued(reply: Reply) -> Issued | None:
    return parse_issued(reply.read_all(MAX_SIZE, _BODY_SECONDS))


def basic_authorization(login: Login) -> str:
    """Say a login as HTTP Basic (RFC 7617)."""
    pair = f"{login.username}:{login.secret}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def token_server_of(challenge: Challenge) -> Target | None:
    """The token server of a challenge; one with a user in its address is nobody's."""
    url = challenge.params.get("realm", "")
    try:
        return None if "@" in urlsplit(url).netloc else Target.parse(url)
    except ValueError:
        return None


def _wanted(challenge: Challenge, name: str) -> str:
    """Service and scope as a form; where upstream names no scope, to pull from the repository."""
    scope = challenge.params.get("scope") or (f"repository:{name}:pull" if name else "")
    wanted = {"service": challenge.params.get("service", ""), "scope": scope}
    return urlencode({key: value for key, value in wanted.items() if value})


def _token_request(
    path: str, wanted: str, login: Login | None
) -> tuple[str, str, Fields, bytes | None]:
    """Method, path, fields and body of a token request."""
    if login is not None and login.kind is LoginKind.IDENTITY:
        grant = {
            "grant_type": "refresh_token",
            "client_id": _CLIENT_ID,
            "refresh_token": login.secret,
        }
        form = "&".join(filter(None, (urlencode(grant), wanted))).encode()
        return "POST", path, (("Content-Type", "application/x-www-form-urlencoded"),), form
    fields: Fields = () if login is None else (("Authorization", basic_authorization(login)),)
    mark = "&" if "?" in path else "?"
    return "GET", f"{path}{mark}{wanted}" if wanted else path, fields, None


def _is_sendable(token: str) -> bool:
    """Whether a token can stand in a header field."""
    return token.isascii() and token.isprintable()

"""Asking upstream as an account: the login itself, or a token that it is good for.

A request is first sent with what was good for its repository the last time. Where upstream
answers 401, its challenge is answered once: Basic with the login, Bearer with a token that the
token server gives for the scope that upstream names, kept until shortly before it ends
(distribution's token specification; an identity token is traded by its OAuth2 form). However many
ask at once, one of them asks for all. ``NOBODY`` shows no login, only the tokens that are for
anybody; so does an account whose login cannot be had, or was refused.

A login is shown to the registry and to token servers of its own registrable domain alone (see
``tokens``), and to those that the administrator names: a registry names its token server itself,
and could name anybody's. Nor is one asked where a redirect would not lead (``destinations``). A
challenge that comes from where a redirect led is not answered. One that was refused is read again
from where it comes from; if that gives no other, it is not shown for a minute, since who shows a
wrong password too often is locked out.
"""

import base64
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import TypeAlias, TypeVar
from urllib.parse import urlencode, urlsplit

from entrepot.auth.token_servers import MAX_SIZE, Issued, are_related, parse_issued
from entrepot.events import Events
from entrepot.http_client.client import Follow, Upstream
from entrepot.http_client.connect.ssrf_guard import DestinationError
from entrepot.http_client.response import Reply, Target, UpstreamError
from entrepot.protocol.credential import NOBODY, Account, Kind, Login
from entrepot.protocol.headers import Challenge, parse_challenges
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields, Request, field_values
from entrepot.protocol.network_reach import Reach
from entrepot.protocol.routes import parse_endpoint

_EARLY_SECONDS = 10.0
"""How long before its end a token is not used any more, at most half of its life."""
_REST_SECONDS = 60.0
"""How long a login is not shown again where it was refused."""
_LONGEST_SECONDS = 30.0
"""What it may take to know what to show, token server and all: a request waits for that."""
_BODY_SECONDS = 10.0
_MOST_SHOWN = 10_000
_MOST_SAID = 1_000
_REFUSALS = frozenset({400, 401, 403})
_CLIENT_ID = "entrepot"


@dataclass(frozen=True, slots=True)
class _Shown:
    """What to show for a repository, and until when."""

    authorization: str
    until: float


_K = TypeVar("_K")
_V = TypeVar("_V")
_Key: TypeAlias = tuple[Account, Origin, str]
"""Who, and for which repository of which registry; or to which server."""


class Signer:
    """Sends requests as accounts; safe to use from many threads."""

    def __init__(self, upstream: Upstream, events: Events, clock: Callable[[], float]) -> None:
        self._upstream = upstream
        self._events = events
        self._clock = clock
        self._lock = threading.Lock()
        self._shown: OrderedDict[_Key, _Shown] = OrderedDict()
        self._asking: dict[_Key, Future[str | None]] = {}
        self._refused: OrderedDict[_Key, tuple[Login, float]] = OrderedDict()
        self._servers: OrderedDict[tuple[Account, Origin], Origin] = OrderedDict()
        self._answered: set[Origin] = set()
        self._withheld: set[tuple[Origin, str]] = set()

    def send(
        self,
        request: Request,
        fields: Fields,
        send: Callable[[Fields], Reply],
        *,
        seconds: float | None = None,
    ) -> Reply:
        """Send ``fields``, and what shows the request's account, where it is made for one.

        ``seconds`` bounds the wait for a token server, where the usual deadline is too long. Raises
        ``UpstreamError``.
        """
        account = request.account
        if account is None:
            return send(fields)
        key = (account, request.origin, _repository(request))
        shown = self._known(key)
        reply = send(_with(fields, shown))
        for _ in range(2):  # a password may have changed; a token is renewed once
            if reply.status != 401 or reply.target.origin != request.origin:
                break
            challenges = parse_challenges(field_values(reply.headers, "WWW-Authenticate"))
            try:
                renewed = self._answer(key, reply, challenges, shown, seconds)
            except BaseException:
                reply.close()
                raise
            if renewed is None:
                break
            reply.drain()
            shown, reply = renewed, send(_with(fields, renewed))
            if not renewed.startswith("Basic "):
                break
        return reply

    def server_needed(self, request: Request) -> Origin | None:
        """The token server that has to answer first, as far as is known beforehand."""
        account = request.account
        if account is None or self._known((account, request.origin, _repository(request))):
            return None
        with self._lock:
            return self._servers.get((account, request.origin))

    def take_answered(self) -> set[Origin]:
        """The token servers that answered since this was last called."""
        with self._lock:
            answered, self._answered = self._answered, set()
        return answered

    def _known(self, key: _Key) -> str | None:
        with self._lock:
            shown = self._shown.get(key)
        return shown.authorization if shown is not None and self._clock() < shown.until else None

    def _answer(
        self,
        key: _Key,
        reply: Reply,
        challenges: tuple[Challenge, ...],
        refused: str | None,
        seconds: float | None,
    ) -> str | None:
        """What to show instead of what was refused; who asks meanwhile gets the same."""
        seconds = _LONGEST_SECONDS if seconds is None else seconds
        with self._lock:
            shown = self._shown.get(key)
            if shown is not None and shown.authorization == refused:
                del self._shown[key]
            elif shown is not None and self._clock() < shown.until:
                return shown.authorization  # another request has just asked
            running = self._asking.get(key)
            if running is None:
                flight = self._asking[key] = Future()
        if running is not None:
            return _result_of(running, key[1], seconds)
        try:
            until = time.monotonic() + seconds
            found = self._authorize(key, reply, challenges, refused, until)
            authorization = None if found is None else found.authorization
            with self._lock:
                if found is not None:
                    _put(self._shown, key, found)
                del self._asking[key]
            flight.set_result(authorization)
        except BaseException as error:
            with self._lock:
                self._asking.pop(key, None)
            flight.set_exception(error)
            raise
        return authorization

    def _authorize(
        self,
        key: _Key,
        reply: Reply,
        challenges: tuple[Challenge, ...],
        refused: str | None,
        until: float,
    ) -> _Shown | None:
        for challenge in challenges:
            if challenge.scheme == "bearer":
                try:
                    return self._by_token(key, reply, challenge, refused, until)
                except DestinationError as error:
                    self._withheld_for(key[1], f"its token server is not asked: {error}")
                    return None
            if challenge.scheme == "basic":
                return self._by_login(key, refused)
        return None

    def _by_login(self, key: _Key, refused: str | None) -> _Shown | None:
        account, registry, _ = key
        if not self._may_see(account, registry, registry):
            return None
        login = self._login(key)
        if login is not None and _basic(login) == refused:
            self._refuse(key, login)
            login = self._login(key)
        if login is None or login.kind is not Kind.PASSWORD:
            return None
        return _Shown(_basic(login), float("inf"))

    def _by_token(
        self, key: _Key, reply: Reply, challenge: Challenge, refused: str | None, until: float
    ) -> _Shown | None:
        account, registry, name = key
        realm = _realm(challenge)
        if realm is None:
            return None
        reach = self._upstream.destinations.named_by_server(
            realm.origin, registry, reply.reach, registry, reply.peer
        )
        with self._lock:
            _put(self._servers, (account, registry), realm.origin)
        place = (account, realm.origin, name)
        for _ in range(2):
            login = None
            if self._may_see(account, registry, realm.origin):
                login = self._login(place)
            if login is not None and login.kind is Kind.BEARER:
                if (bearer := f"Bearer {login.secret}") != refused:
                    return _Shown(bearer, float("inf"))
                status, found = 403, None
            else:
                status, found = self._ask(realm, reach, challenge, name, login, until)
            if login is None or status not in _REFUSALS:
                return found
            # 401 is about the login, whatever it was shown for.
            self._refuse((account, realm.origin, "" if status == 401 else name), login)
        return self._ask(realm, reach, challenge, name, None, until)[1]

    # Logins

    def _may_see(self, account: Account, registry: Origin, server: Origin) -> bool:
        """Whether an account's login may be shown to a server that ``registry`` named."""
        if account is NOBODY:
            return False
        if registry.scheme != "https" and not account.plain:
            reason = "it is reached by plain http"
        elif are_related(registry, server) or server in account.realms:
            return True
        else:
            reason = f"its token server is {server}"
        self._withheld_for(registry, reason)
        return False

    def _withheld_for(self, registry: Origin, reason: str) -> None:
        """Say once why a registry's token server gets nothing."""
        said = (registry, reason)
        with self._lock:
            news = said not in self._withheld and len(self._withheld) < _MOST_SAID
            if news:
                self._withheld.add(said)
        if news:
            self._events.warn("login_withheld", host=registry, reason=reason)

    def _login(self, place: _Key) -> Login | None:
        """What to show at a server; None where there is nothing that was not just refused."""
        account, server, _ = place
        login = account.login()
        for where in (place, (account, server, "")):
            with self._lock:
                refused, until = self._refused.get(where, (None, 0.0))
            if login is None or login != refused:
                continue
            login = account.login(refused)
            if login is None and self._clock() >= until:
                login = refused
        return login

    def _refuse(self, place: _Key, login: Login) -> None:
        with self._lock:
            _put(self._refused, place, (login, self._clock() + _REST_SECONDS))
        self._events.warn("login_refused", by=place[1], account=place[0].username)

    # Tokens

    def _ask(
        self,
        realm: Target,
        reach: Reach,
        challenge: Challenge,
        name: str,
        login: Login | None,
        until: float,
    ) -> tuple[int, _Shown | None]:
        """Ask a token server: its status, and the token that it gives."""
        began, wanted = self._clock(), _wanted(challenge, name)
        method, path, fields, content = _token_request(realm.path, wanted, login)
        with self._upstream.send(
            method,
            Target(realm.origin, path),
            (*fields, ("Accept", "application/json"), ("Accept-Encoding", "identity")),
            reach=reach,
            follow=Follow.NO,
            content=content,
            seconds=until - time.monotonic(),
        ) as reply:
            with self._lock:
                self._answered.add(realm.origin)
            if reply.status >= 500 or reply.status == 429:
                raise UpstreamError(f"{realm.origin}: it answered {reply.status}", passing=True)
            issued = _read_issued(reply) if reply.status == 200 else None
        if issued is None or not _is_sendable(issued.tokens[0]):
            return reply.status, None
        early = min(_EARLY_SECONDS, issued.seconds / 2)
        return 200, _Shown(f"Bearer {issued.tokens[0]}", began + issued.seconds - early)


def _result_of(running: "Future[str | None]", registry: Origin, seconds: float) -> str | None:
    """What another request is just asking for. Raises ``UpstreamError``."""
    try:
        return running.result(seconds)
    except FutureTimeoutError:
        raise UpstreamError(f"{registry}: its token server gave no answer in time") from None


def _read_issued(reply: Reply) -> Issued | None:
    return parse_issued(reply.read_all(MAX_SIZE, _BODY_SECONDS))


def _repository(request: Request) -> str:
    """The repository that a request is about; empty where it is about none."""
    endpoint = parse_endpoint(request.method, request.path, request.query)
    return str(getattr(endpoint, "name", ""))


def _with(fields: Fields, authorization: str | None) -> Fields:
    return fields if authorization is None else (*fields, ("Authorization", authorization))


def _basic(login: Login) -> str:
    pair = f"{login.username}:{login.secret}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def _realm(challenge: Challenge) -> Target | None:
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
    if login is not None and login.kind is Kind.IDENTITY:
        grant = {
            "grant_type": "refresh_token",
            "client_id": _CLIENT_ID,
            "refresh_token": login.secret,
        }
        form = "&".join(filter(None, (urlencode(grant), wanted))).encode()
        return "POST", path, (("Content-Type", "application/x-www-form-urlencoded"),), form
    fields: Fields = () if login is None else (("Authorization", _basic(login)),)
    mark = "&" if "?" in path else "?"
    return "GET", f"{path}{mark}{wanted}" if wanted else path, fields, None


def _is_sendable(token: str) -> bool:
    """Whether a token can stand in a header field."""
    return token.isascii() and token.isprintable()


def _put(table: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > _MOST_SHOWN:
        table.popitem(last=False)

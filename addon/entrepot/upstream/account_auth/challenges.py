"""Asking upstream as an account: the login itself, or a token that it is good for.

A request is first sent with what was good for its repository the last time. Where upstream
answers 401, its challenge is answered once: Basic with the login, Bearer with a token that the
token server gives for the scope that upstream names, kept until shortly before it ends
(distribution's token specification; an identity token is traded by its OAuth2 form). However many
ask at once, one of them asks for all. ``NOBODY`` shows no login, only the tokens that are for
anybody; so does an account whose login cannot be had, or was refused.

Which login goes where is ``logins``', what a token server is asked is ``tokens``'. A
token server is not asked where a redirect would not lead (``ssrf_guard``), and a challenge is not
answered that comes from where a redirect led.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace

from entrepot.bounded_map import BoundedMap
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.ssrf_guard import DestinationError
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol.account import Account, LoginKind
from entrepot.protocol.headers import Challenge, parse_challenges
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields, Request, field_values
from entrepot.protocol.routes import parse_endpoint
from entrepot.protocol.statuses import REFUSALS
from entrepot.upstream.account_auth.logins import AccountLogins, LoginTarget
from entrepot.upstream.account_auth.tokens import (
    AccountTokens,
    AuthorizationHeader,
    basic_authorization,
    token_server_of,
)

_LONGEST_SECONDS = 30.0
"""What it may take to know what to show, token server and all: a request waits for that."""
_MOST_SHOWN = 10_000


class AccountAuth:
    """Answers the challenges (401) of registries with accounts; safe to use from many threads."""

    def __init__(self, upstream: HttpClient, events: Events, clock: Callable[[], float]) -> None:
        self._upstream = upstream
        self._clock = clock
        self._lock = threading.Lock()
        self._logins = AccountLogins(events, clock)
        self.tokens = AccountTokens(upstream, clock)
        self._shown: BoundedMap[LoginTarget, AuthorizationHeader] = BoundedMap(_MOST_SHOWN)
        self._asking: dict[LoginTarget, Future[str | None]] = {}
        self._servers: BoundedMap[tuple[Account, Origin], Origin] = BoundedMap(_MOST_SHOWN)

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
        target = LoginTarget(account, request.origin, _repository(request))
        shown = self._known(target)
        reply = send(_with(fields, shown))
        for _ in range(2):  # a password may have changed; a token is renewed once
            if reply.status != 401 or reply.target.origin != request.origin:
                break
            challenges = parse_challenges(field_values(reply.headers, "WWW-Authenticate"))
            try:
                renewed = self._answer(target, reply, challenges, shown, seconds)
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
        if account is None or self._known(
            LoginTarget(account, request.origin, _repository(request))
        ):
            return None
        with self._lock:
            return self._servers.get((account, request.origin))

    def _known(self, target: LoginTarget) -> str | None:
        with self._lock:
            shown = self._shown.get(target)
        return shown.value if shown is not None and self._clock() < shown.until else None

    def _answer(
        self,
        target: LoginTarget,
        reply: Reply,
        challenges: tuple[Challenge, ...],
        refused: str | None,
        seconds: float | None,
    ) -> str | None:
        """What to show instead of what was refused; who asks meanwhile gets the same."""
        seconds = _LONGEST_SECONDS if seconds is None else seconds
        with self._lock:
            shown = self._shown.get(target)
            if shown is not None and shown.value == refused:
                self._shown.pop(target)
            elif shown is not None and self._clock() < shown.until:
                return shown.value  # another request has just asked
            running = self._asking.get(target)
            if running is None:
                flight = self._asking[target] = Future()
        if running is not None:
            return _result_of(running, target.server, seconds)
        try:
            until = time.monotonic() + seconds
            found = self._authorize(target, reply, challenges, refused, until)
            authorization = None if found is None else found.value
            with self._lock:
                if found is not None:
                    self._shown.put(target, found)
                del self._asking[target]
            flight.set_result(authorization)
        except BaseException as error:
            with self._lock:
                self._asking.pop(target, None)
            flight.set_exception(error)
            raise
        return authorization

    def _authorize(
        self,
        target: LoginTarget,
        reply: Reply,
        challenges: tuple[Challenge, ...],
        refused: str | None,
        until: float,
    ) -> AuthorizationHeader | None:
        for challenge in challenges:
            if challenge.scheme == "bearer":
                try:
                    return self._by_token(target, reply, challenge, refused, until)
                except DestinationError as error:
                    self._logins.withheld(target.server, f"its token server is not asked: {error}")
                    return None
            if challenge.scheme == "basic":
                return self._by_login(target, refused)
        return None

    def _by_login(self, target: LoginTarget, refused: str | None) -> AuthorizationHeader | None:
        account, registry = target.account, target.server
        if not self._logins.may_see(account, registry, registry):
            return None
        login = self._logins.login(target)
        if login is not None and basic_authorization(login) == refused:
            self._logins.refuse(target, login)
            login = self._logins.login(target)
        if login is None or login.kind is not LoginKind.PASSWORD:
            return None
        return AuthorizationHeader(basic_authorization(login))

    def _by_token(
        self,
        target: LoginTarget,
        reply: Reply,
        challenge: Challenge,
        refused: str | None,
        until: float,
    ) -> AuthorizationHeader | None:
        account, registry, name = target.account, target.server, target.repository
        realm = token_server_of(challenge)
        if realm is None:
            return None
        reach = self._upstream.destinations.named_by_server(
            realm.origin, registry, reply.reach, registry, reply.peer
        )
        with self._lock:
            self._servers.put((account, registry), realm.origin)
        there = LoginTarget(account, realm.origin, name)
        for _ in range(2):
            login = None
            if self._logins.may_see(account, registry, realm.origin):
                login = self._logins.login(there)
            if login is not None and login.kind is LoginKind.BEARER:
                if (bearer := f"Bearer {login.secret}") != refused:
                    return AuthorizationHeader(bearer)
                status, found = 403, None
            else:
                status, found = self.tokens.ask(realm, reach, challenge, name, login, until)
            if login is None or status not in REFUSALS:
                return found
            # 401 is about the login, whatever it was shown for.
            self._logins.refuse(replace(there, repository="" if status == 401 else name), login)
        return self.tokens.ask(realm, reach, challenge, name, None, until)[1]


def _result_of(running: "Future[str | None]", registry: Origin, seconds: float) -> str | None:
    """What another request is just asking for. Raises ``UpstreamError``."""
    try:
        return running.result(seconds)
    except FutureTimeoutError:
        raise UpstreamError(f"{registry}: its token server gave no answer in time") from None


def _repository(request: Request) -> str:
    """The repository that a request is about; empty where it is about none."""
    endpoint = parse_endpoint(request.method, request.path, request.query)
    return str(getattr(endpoint, "name", ""))


def _with(fields: Fields, authorization: str | None) -> Fields:
    return fields if authorization is None else (*fields, ("Authorization", authorization))

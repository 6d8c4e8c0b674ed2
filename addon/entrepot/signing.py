"""Asking upstream as an account: the login itself, or a token that it is good for.

A request is first sent with what was good for its repository the last time. Where upstream
answers 401, its challenge is answered once: Basic with the login, Bearer with a token that the
token server gives for the scope that upstream names, kept until shortly before it ends
(distribution's token specification). ``NOBODY`` shows no login, only the tokens that are for
anybody.

A login is shown to the registry and to token servers of its own registrable domain alone (see
``tokens``): a registry names its token server itself, and could name anybody's. A challenge that
comes from where a redirect led is not answered.
"""

import base64
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from entrepot.account import NOBODY, Account
from entrepot.endpoint import parse_endpoint
from entrepot.events import Events
from entrepot.headers import Challenge, parse_challenges
from entrepot.message import Fields, Request, field_values
from entrepot.reference import Origin
from entrepot.tokens import MAX_SIZE, are_related, parse_issued
from entrepot.upstream import Follow, Reply, Target, Upstream, UpstreamError

_EARLY_SECONDS = 10.0
"""How long before its end a token is not used any more, at most half of its life."""
_MOST_SHOWN = 10_000


@dataclass(frozen=True, slots=True)
class _Shown:
    """What to show for a repository, and until when."""

    authorization: str
    until: float


_Key = tuple[Account, Origin, str]
"""Who, and for which repository of which registry."""


class Signer:
    """Sends requests as accounts; safe to use from many threads."""

    def __init__(self, upstream: Upstream, events: Events, clock: Callable[[], float]) -> None:
        self._upstream = upstream
        self._events = events
        self._clock = clock
        self._shown: OrderedDict[_Key, _Shown] = OrderedDict()
        self._lock = threading.Lock()
        self._asking: dict[_Key, threading.Lock] = {}

    def send(
        self,
        request: Request,
        fields: Fields,
        send: Callable[[Fields], Reply],
        *,
        seconds: float | None = None,
    ) -> Reply:
        """Send ``fields``, and what shows the request's account, where it is made for one.

        ``seconds`` bounds the wait for a token server. Raises ``UpstreamError``.
        """
        account = request.account
        if account is None:
            return send(fields)
        key = (account, request.origin, _repository(request))
        shown = self._known(key)
        reply = send(_with(fields, shown))
        if reply.status != 401 or reply.target.origin != request.origin:
            return reply
        challenges = parse_challenges(field_values(reply.headers, "WWW-Authenticate"))
        renewed = self._answer(key, challenges, shown, seconds)
        if renewed is None:
            return reply
        reply.drain()
        return send(_with(fields, renewed))

    def _known(self, key: _Key) -> str | None:
        with self._lock:
            shown = self._shown.get(key)
        return shown.authorization if shown is not None and self._clock() < shown.until else None

    def _answer(
        self,
        key: _Key,
        challenges: tuple[Challenge, ...],
        refused: str | None,
        seconds: float | None,
    ) -> str | None:
        """What to show instead of what was refused; one at a time asks for it."""
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        try:
            with asking:
                known = self._known(key)
                if known is not None and known != refused:
                    return known  # another request has just asked
                found = self._authorize(key, challenges, seconds)
                if found is None or found.authorization == refused:
                    return None
                self._keep(key, found)
                return found.authorization
        finally:
            with self._lock:
                self._asking.pop(key, None)

    def _keep(self, key: _Key, shown: _Shown) -> None:
        with self._lock:
            self._shown[key] = shown
            self._shown.move_to_end(key)
            while len(self._shown) > _MOST_SHOWN:
                self._shown.popitem(last=False)

    def _authorize(
        self, key: _Key, challenges: tuple[Challenge, ...], seconds: float | None
    ) -> _Shown | None:
        account, registry, _ = key
        if account is not NOBODY and registry.scheme != "https":
            self._events.warn("login_withheld", host=registry, reason="it is reached by plain http")
            return None
        for challenge in challenges:
            if challenge.scheme == "bearer":
                return self._token(key, challenge, seconds)
            if challenge.scheme == "basic" and account is not NOBODY:
                return _Shown(_basic(account), float("inf"))
        return None

    def _token(self, key: _Key, challenge: Challenge, seconds: float | None) -> _Shown | None:
        """Ask a token server; None where it gives none to this account."""
        account, registry, name = key
        try:
            realm = Target.parse(challenge.params.get("realm", ""))
        except ValueError:
            return None
        if account is not NOBODY and not are_related(registry, realm.origin):
            self._events.warn(
                "login_withheld", host=registry, reason=f"its token server is {realm.origin}"
            )
            return None
        began = self._clock()
        login: Fields = () if account is NOBODY else (("Authorization", _basic(account)),)
        with self._upstream.send(
            "GET",
            Target(realm.origin, _with_query(realm.path, challenge, name)),
            (*login, ("Accept", "application/json"), ("Accept-Encoding", "identity")),
            follow=Follow.NO,
            seconds=seconds,
        ) as reply:
            content = reply.read_all(MAX_SIZE)
            if reply.status in (401, 403) and account is not NOBODY:
                self._events.warn("login_refused", host=registry, by=realm.origin)
            if reply.status >= 500 or reply.status == 429:
                raise UpstreamError(f"{realm.origin}: it answered {reply.status}", passing=True)
        issued = parse_issued(content) if reply.status == 200 else None
        if issued is None:
            return None
        early = min(_EARLY_SECONDS, issued.seconds / 2)
        return _Shown(f"Bearer {issued.tokens[0]}", began + issued.seconds - early)


def _repository(request: Request) -> str:
    """The repository that a request is about; empty where it is about none."""
    endpoint = parse_endpoint(request.method, request.path, request.query)
    return str(getattr(endpoint, "name", ""))


def _with(fields: Fields, authorization: str | None) -> Fields:
    return fields if authorization is None else (*fields, ("Authorization", authorization))


def _basic(account: Account) -> str:
    pair = f"{account.username}:{account.password}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def _with_query(path: str, challenge: Challenge, name: str) -> str:
    """The token server's path with service and scope; pulling is all that is ever asked for."""
    scope = challenge.params.get("scope") or (f"repository:{name}:pull" if name else "")
    wanted = {"service": challenge.params.get("service", ""), "scope": scope}
    query = urlencode({key: value for key, value in wanted.items() if value})
    return f"{path}{'&' if '?' in path else '?'}{query}" if query else path

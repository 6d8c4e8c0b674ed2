"""Token servers: where a registry sends its clients for a token, and what they get there.

The proxy watches this exchange for two facts that ``access`` lives on: whether a token was
handed out to somebody who showed no credentials, and when it ends. Tokens are opaque: no right
is ever read out of one.

A registry names its token server in a challenge, so any registry could name any host. The
proxy looks into connections only to a token server of the registry's own registrable domain
(Public Suffix List); another one is left alone, and its tokens count as unknown.
"""

import json
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

from publicsuffixlist import PublicSuffixList

from entrepot.headers import parse_challenges
from entrepot.identity import identity_fields
from entrepot.message import Request
from entrepot.reference import Origin, is_ip_address

_K = TypeVar("_K")
_V = TypeVar("_V")

DEFAULT_SECONDS = 60.0
"""How long a token lives whose server does not say (distribution's token specification)."""

_LONGEST_SECONDS = 10**9
MAX_SIZE = 64 * 1024
_MOST_REALMS = 1000
_ANONYMOUS_QUERY = frozenset({"service", "scope", "client_id", "offline_token", "account"})


@dataclass(frozen=True, slots=True)
class Realm:
    """A token endpoint."""

    origin: Origin
    path: str


@dataclass(frozen=True, slots=True)
class Issued:
    """What a token endpoint handed out: the token, by one name or two, and its life in seconds."""

    tokens: tuple[str, ...]
    seconds: float


_Named: TypeAlias = tuple[Origin, str]
"""A registry that named a token endpoint, and as which service."""


class Realms:
    """The token endpoints learnt from challenges."""

    def __init__(self) -> None:
        self._known: OrderedDict[Realm, OrderedDict[_Named, None]] = OrderedDict()

    def challenged(self, registry: Origin, values: list[str]) -> Origin | None:
        """Learn from ``WWW-Authenticate``; the token server's origin where it may be watched."""
        for challenge in parse_challenges(values):
            realm = _realm(challenge.params.get("realm", ""))
            if challenge.scheme == "bearer" and realm and are_related(registry, realm.origin):
                by = self._known.setdefault(realm, OrderedDict())
                _use(by, (registry, challenge.params.get("service", "")), None)
                _use(self._known, realm, by)
                return realm.origin
        return None

    def has(self, origin: Origin, path: str) -> bool:
        """Whether a request is one for a token."""
        return Realm(origin, path) in self._known

    def registries(self, origin: Origin, path: str, service: str | None) -> set[Origin]:
        """The registries that send for a token there, by this ``service`` where one is said."""
        named = self._known.get(Realm(origin, path), ())
        return {registry for registry, own in named if service in (None, own)}

    def is_host(self, origin: Origin) -> bool:
        """Whether ``origin`` is a known token server."""
        return any(realm.origin == origin for realm in self._known)


def _use(table: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > _MOST_REALMS:
        table.popitem(last=False)


def are_related(registry: Origin, server: Origin) -> bool:
    """Whether a token server belongs to a registry: one host, or one registrable domain."""
    if registry.scheme == "https" != server.scheme:
        return False
    if registry.host == server.host:
        return True
    if is_ip_address(registry.host) or is_ip_address(server.host):
        return False
    domain = _suffixes().privatesuffix(registry.host)
    return domain is not None and domain == _suffixes().privatesuffix(server.host)


def named_server(values: list[str]) -> Origin | None:
    """The token server that ``WWW-Authenticate`` names, whosever it is."""
    realms = (
        _realm(challenge.params.get("realm", ""))
        for challenge in parse_challenges(values)
        if challenge.scheme == "bearer"
    )
    return next((realm.origin for realm in realms if realm is not None), None)


def is_anonymous(request: Request) -> bool:
    """Whether a request for a token shows no credentials of any kind."""
    keys = {key for key, _ in parse_qsl(request.query, keep_blank_values=True)}
    return request.method == "GET" and not identity_fields(request) and keys <= _ANONYMOUS_QUERY


def asks_to_write(request: Request, content: bytes) -> bool:
    """Whether a request for a token wants to do more than pull (``repository:NAME:pull,push``)."""
    form = content.decode("utf-8", "replace") if request.method == "POST" else ""
    scopes = [v for k, v in parse_qsl(f"{request.query}&{form}") if k == "scope"]
    actions = [scope.rpartition(":")[2].split(",") for value in scopes for scope in value.split()]
    return any(action not in ("", "pull") for some in actions for action in some)


def parse_issued(content: bytes) -> Issued | None:
    """Read a token endpoint's answer; None where it is none."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    found = (document.get("token"), document.get("access_token"))
    tokens = tuple(dict.fromkeys(token for token in found if isinstance(token, str) and token))
    return Issued(tokens, _seconds(document.get("expires_in"))) if tokens else None


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(min(value, _LONGEST_SECONDS))
    return DEFAULT_SECONDS


def _realm(url: str) -> Realm | None:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return Realm(Origin.make(parts.scheme, parts.hostname or "", port), parts.path or "/")
    except ValueError:
        return None


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()

"""Token servers: where a registry sends its clients for a token.

A registry names its token server in a challenge, so any registry could name any host. Only a token
server of the registry's own registrable domain (Public Suffix List) is known as one; another one is
left alone, and its tokens count as unknown. Other hosts of that domain are whatever they are: so a
host is looked into for the sake of its tokens only for a client that was sent there by a registry
lately, by https at exactly that port, and there only what asks for a token is ours to answer. The
rest of the rule is in ``interception``.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeAlias
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList

from entrepot.bounded_map import BoundedMap, FairMap
from entrepot.protocol.headers import parse_challenges
from entrepot.protocol.identifiers import Origin, is_ip_address

SENT_SECONDS = 600.0
"""How long after it was sent there a client may ask for a token: at once, mostly."""
MOST_REALMS = 1000
REALMS_OF_A_DOMAIN = 100
_MOST_NAMES = 1000
_NAMES_BY_A_DOMAIN = 100
_MOST_SENT = 10_000
_SENT_OF_A_CLIENT = 200
_MOST_SENDERS = 16


@dataclass(frozen=True, slots=True)
class Realm:
    """A token endpoint."""

    origin: Origin
    path: str


_Named: TypeAlias = tuple[Origin, str]
"""A registry that named a token endpoint, and as which service."""


class Realms:
    """The token endpoints learnt from challenges, and who was sent there."""

    def __init__(self) -> None:
        self._known: FairMap[Realm, FairMap[_Named, None]] = FairMap(
            MOST_REALMS, REALMS_OF_A_DOMAIN
        )
        self._sent: FairMap[tuple[str, Origin], BoundedMap[Origin, float]] = FairMap(
            _MOST_SENT, _SENT_OF_A_CLIENT
        )

    def challenged(self, registry: Origin, values: list[str]) -> Origin | None:
        """Learn from ``WWW-Authenticate``; the token server's origin where it is the registry's."""
        named = _named(registry, values)
        if named is None:
            return None
        realm, service = named
        names = self._known.peek(realm) or FairMap(_MOST_NAMES, _NAMES_BY_A_DOMAIN)
        names.put((registry, service), None, _domain(registry.host))
        self._known.put(realm, names, _domain(realm.origin.host))
        return realm.origin

    def sent(self, client: str, registry: Origin, values: list[str], now: float) -> None:
        """Take in that ``client`` (an address) is given this challenge of ``registry``.

        One that was not learnt is of no account, and one to plain http is of none either.
        """
        named = _named(registry, values)
        if named is None or named[0].origin.scheme != "https":
            return
        realm, service = named
        names = self._known.peek(realm)
        if names is None or (registry, service) not in names:
            return
        senders = self._sent.peek((client, realm.origin)) or BoundedMap(_MOST_SENDERS)
        senders.put(registry, now)
        self._sent.put((client, realm.origin), senders, client)

    def senders(self, client: str, server: Origin, now: float) -> list[Origin]:
        """The registries that sent ``client`` to ``server`` lately."""
        known = self._sent.peek((client, server))
        if known is None:
            return []
        return [registry for registry, at in known.items() if now - at < SENT_SECONDS]

    def has(self, origin: Origin, path: str) -> bool:
        """Whether tokens are to be had there."""
        return self._known.peek(Realm(origin, path)) is not None

    def registries(self, origin: Origin, path: str, service: str | None) -> set[Origin]:
        """The registries that send for a token there, by this ``service`` where one is said."""
        named = self._known.peek(Realm(origin, path)) or ()
        return {registry for registry, own in named if service in (None, own)}


def are_related(registry: Origin, server: Origin) -> bool:
    """Whether a token server belongs to a registry: one host, or one registrable domain."""
    if registry.scheme == "https" != server.scheme:
        return False
    if registry.host == server.host:
        return True
    if is_ip_address(registry.host) or is_ip_address(server.host):
        return False
    domain = _registrable(registry.host)
    return domain is not None and domain == _registrable(server.host)


def _domain(host: str) -> str:
    """Whose a host is: its registrable domain, or itself where it has none."""
    return host if is_ip_address(host) else _registrable(host) or host


@lru_cache(4096)
def _registrable(host: str) -> str | None:
    domain: str | None = _suffixes().privatesuffix(host)
    return domain


def _named(registry: Origin, values: list[str]) -> tuple[Realm, str] | None:
    """The registry's own token endpoint that a challenge names, and as which service."""
    for challenge in parse_challenges(values):
        realm = _realm(challenge.params.get("realm", ""))
        if challenge.scheme == "bearer" and realm and are_related(registry, realm.origin):
            return realm, challenge.params.get("service", "")
    return None


def named_server(values: list[str]) -> Origin | None:
    """The token server that ``WWW-Authenticate`` names, whosever it is."""
    realms = (
        _realm(challenge.params.get("realm", ""))
        for challenge in parse_challenges(values)
        if challenge.scheme == "bearer"
    )
    return next((realm.origin for realm in realms if realm is not None), None)


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

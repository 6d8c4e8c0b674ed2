"""Where connections may lead: the rules of ``reach``, for this machine and this configuration.

Decided on each resolved address at the moment of connecting, by our own client (``connecting``)
and for what mitmproxy connects to (``mitm.resolving``). What is known before, since a place is
written as an address or has just been connected to, is said before: content that is here must not
be given out under a name to which its client would not be led.
"""

import socket
import threading
from collections.abc import Callable, Collection
from contextlib import suppress

from entrepot.bounded_map import BoundedMap
from entrepot.config.addresses import Resolve
from entrepot.http_client.connect.own_addresses import Listeners, is_own
from entrepot.protocol.identifiers import HostPort, Origin, parse_host
from entrepot.protocol.network_reach import (
    IPAddress,
    Reach,
    Scope,
    literal,
    names_this_machine,
    scope_of,
)

ITSELF = "it is this proxy itself"
_REMEMBERED_SECONDS = 300.0
"""As long as a decision on content counts at most."""
_MOST_REMEMBERED = 1000

Place = tuple[str, int]
"""A host, in any spelling, and a port."""


class DestinationError(Exception):
    """A request is not led where it wants to go; the text says why."""


class Destinations:
    """How far each word leads, and what is refused to it; safe to use from many threads."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        listed: Collection[HostPort] | None = None,
        resolve: Collection[Resolve] = (),
        mirrored: Collection[Origin] = (),
    ) -> None:
        """What the administrator named: ``--registry``, ``--resolve``, ``--mirror=REGISTRY``.

        ``listed`` None: every place counts as listed.
        """
        self._clock = clock
        self._listed = listed
        self._resolve = {(r.host, r.port): (r.address, r.target_port) for r in resolve}
        self._mirrored = {(origin.host, origin.port) for origin in mirrored}
        self.listeners = Listeners()
        """Replaced once it is known where this process listens."""
        self._own_names = _own_names()
        self._lock = threading.Lock()
        self._scopes: BoundedMap[Place, tuple[Scope, float]] = BoundedMap(_MOST_REMEMBERED)

    # Whose word it is

    def named_by_client(self, host: str, port: int, client: str) -> Reach:
        """How far a client (an IP address) is led that names a place."""
        if self.is_listed(host, port) or (_parsed(host), port) in self._mirrored:
            return Reach.ANYWHERE
        address = literal(client)
        here = address is not None and (address.is_loopback or is_own(address))
        return Reach.ANYWHERE if here else Reach.CLIENT

    def named_by_somebody(self, origin: Origin) -> Reach:
        """How far a registry may lead that is asked in the proxy's own name.

        Of such are those that clients of a mirror name.
        """
        return Reach.ANYWHERE if self.is_listed(origin.host, origin.port) else Reach.NEAR

    def named_by_server(
        self, to: Origin, asked: Origin, reach: Reach, by: Origin, at: str | None
    ) -> Reach:
        """How far a ``Location`` or a token realm leads.

        ``by`` named it, which answered from the address ``at`` (None: through the upstream
        proxy); ``asked`` is the registry that was asked first, with ``reach``.
        """
        if (to.host, to.port) == (asked.host, asked.port):
            return reach
        if self.is_listed(to.host, to.port):
            return Reach.ANYWHERE
        address = literal(at or "")
        outside = address is None or self._scope(address) is Scope.GLOBAL
        return Reach.FAR if outside and not self.is_listed(by.host, by.port) else Reach.NEAR

    def is_listed(self, host: str, port: int) -> bool:
        """Whether the administrator named a place as one to be connected to."""
        if self._listed is None:
            return True
        host = _parsed(host)
        return (host, port) in self._resolve or any(
            entry.host == host and entry.port in (None, port) for entry in self._listed
        )

    # What is refused

    def refusal(self, reach: Reach, address: str, port: int) -> str | None:
        """Why a resolved address is not connected to; None where it is."""
        found = literal(address)
        if found is None:
            return "it is no address"
        return ITSELF if self.listeners.have(found, port) else reach.refusal(self._scope(found))

    def foreseen(
        self, reach: Reach, host: str, port: int, *, elsewhere: bool = False
    ) -> str | None:
        """What is known to be refused before a place is resolved.

        ``elsewhere``: it is the upstream proxy that resolves it, so it is all that is ever known.
        """
        if not elsewhere:
            host, port = self._resolve.get((_parsed(host), port), (host, port))
        if (address := literal(host)) is not None:
            return self.refusal(reach, str(address), port)
        if names_this_machine(host):
            found = (self.refusal(reach, address, port) for address in ("127.0.0.1", "::1"))
            return next(filter(None, found), None)
        if elsewhere and _parsed(host) in self._own_names:
            return ITSELF if self._listens_on(port) else reach.refusal(Scope.OWN)
        with self._lock:
            scope, until = self._scopes.get((_parsed(host), port), (Scope.GLOBAL, 0.0))
        return reach.refusal(scope) if self._clock() < until else None

    def connected(self, host: str, port: int, address: str) -> None:
        """Take in to which address a place led just now."""
        found = literal(address)
        scope = Scope.GLOBAL if found is None else self._scope(found)
        place = (_parsed(host), port)
        with self._lock:
            if scope in (Scope.GLOBAL, Scope.PRIVATE):
                self._scopes.pop(place)
            else:
                self._scopes.put(place, (scope, self._clock() + _REMEMBERED_SECONDS))

    def _listens_on(self, port: int) -> bool:
        return any(own == port for _, own in self.listeners.places)

    def _scope(self, address: IPAddress) -> Scope:
        scope = scope_of(address)
        if scope in (Scope.GLOBAL, Scope.PRIVATE) and is_own(address):
            return Scope.OWN
        return scope


def _parsed(host: str) -> str:
    with suppress(ValueError):
        return parse_host(host)
    return host


def _own_names() -> frozenset[str]:
    """What this machine calls itself, by its first part as well."""
    name = _parsed(socket.gethostname())
    return frozenset({name, name.partition(".")[0]})

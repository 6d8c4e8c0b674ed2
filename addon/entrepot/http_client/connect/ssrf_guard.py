"""Where connections may lead: nobody reaches through the proxy what they could not by themselves.

A guard against server-side request forgery (SSRF): the rules of ``network_reach``, for this machine
and this configuration. They are applied to each resolved address at the moment of connecting, by
our own client (``dial``) and for what mitmproxy connects to (``mitm.hooks.ssrf_boundary``). What is
known before, since a place is written as an address or has just been connected to, is said before:
content that is here must not be given out under a name to which its client would not be led.
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
    """A request would lead to an address that is refused to whoever named it; the text says why.

    Nothing was sent. It says nothing of the registry, so it is no ``UpstreamError``.
    """


class Destinations:
    """How far a place leads by who named it, and which addresses are refused to whom.

    Safe to use from many threads.
    """

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

    # How far, by who named a place

    def named_by_client(self, host: str, port: int, client: str) -> Reach:
        """How far a place leads that a client (an IP address) named.

        Anywhere where the administrator listed or mirrors it, or the client is on this machine.
        """
        if self.is_listed(host, port) or (_parsed(host), port) in self._mirrored:
            return Reach.ANYWHERE
        address = literal(client)
        here = address is not None and (address.is_loopback or is_own(address))
        return Reach.ANYWHERE if here else Reach.CLIENT

    def named_by_somebody(self, origin: Origin) -> Reach:
        """How far a registry leads that the proxy asks in its own name, for nobody in particular.

        Such are those that clients of a mirror name (``?ns=``).
        """
        return Reach.ANYWHERE if self.is_listed(origin.host, origin.port) else Reach.NEAR

    def named_by_server(
        self, to: Origin, asked: Origin, reach: Reach, by: Origin, at: str | None
    ) -> Reach:
        """How far a ``Location`` or a token realm leads: ``to``, which the server ``by`` named.

        That server answered from the address ``at`` (None: through the upstream proxy); ``asked``
        is the registry that was asked first, with ``reach``.
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

    def is_here(self, reach: Reach, address: str, port: int) -> bool:
        """Whether an address is this process itself, to whoever may be led there at all."""
        found = literal(address)
        if found is None or not self.listeners.have(found, port):
            return False
        return reach.refusal(self._scope(found)) is None

    def foreseen(
        self, reach: Reach, host: str, port: int, *, elsewhere: bool = False
    ) -> str | None:
        """Why a place is refused, as far as is known before it is resolved; None where it is not.

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
        """Remember to which address a place led just now, for :meth:`foreseen`."""
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

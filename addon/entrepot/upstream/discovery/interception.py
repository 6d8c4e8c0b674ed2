"""Which connections are intercepted, for which client: registries and their token servers.

Everything else goes through a blind tunnel (promise 4). So do the connections of a client that
refused our certificate (``untrusting_clients``): that is decided when its ClientHello has come,
after all else.

A token server is another host, which may be much else: a registry's word is not enough to look into
what everybody says to it. It is intercepted for a client that was sent there lately, by a registry
that is intercepted itself, at the port that was named; and ``Role`` says for what.
"""

from collections.abc import Callable
from enum import Enum, auto

from entrepot.auth.token_servers import Realms
from entrepot.events.counters import Counter
from entrepot.events.log import Events
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.discovery.probes import Asker
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from entrepot.upstream.discovery.tls_fingerprint import UNKNOWN, Fingerprint
from entrepot.upstream.discovery.untrusting_clients import (
    Refusal,
    UntrustingClient,
    UntrustingClients,
)
from entrepot.upstream.host_health import HostHealth


class Role(Enum):
    """As what a host is intercepted."""

    REGISTRY = auto()
    TOKENS = auto()
    """Only what asks for a token is for us; all else is passed on as it is."""


class Interception:
    """Decides for each host and client whether to intercept."""

    def __init__(
        self,
        health: HostHealth,
        clock: Callable[[], float],
        realms: Realms,
        registries: RegistryHosts,
        events: Events,
        permits: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """``permits`` says for which hosts the authority may make a certificate."""
        self._events = events
        self._health = health
        self._clock = clock
        self._realms = realms
        self._registries = registries
        self._permits = permits
        self._untrusting = UntrustingClients()

    async def intercepts(self, origin: Origin, client: str) -> bool:
        """Whether to look into what whoever is at ``client`` (an address) and ``origin`` say."""
        if self._untrusting.refuses(client, origin, self._clock()):
            return False
        return await self._role(origin, client) is not None

    async def role(self, origin: Origin, client: str) -> Role | None:
        """As what a connection of ``client`` (an address) to ``origin`` is intercepted.

        None for a blind tunnel. Whether the client trusts us is another question (:meth:`tunnels`).
        """
        role = await self._role(origin, client)
        if role is None:
            self._count_tunnel(origin, client)
        return role

    def _count_tunnel(self, origin: Origin, client: str) -> None:
        """Count a connection to a registry that is not to be looked into, by the reason."""
        if not self._registries.fitness.was(origin):
            self._events.count(Counter.TUNNELLED_UNFIT)
        elif self._registries.known(origin, client) and not self._permits(origin.host):
            self._events.count(Counter.TUNNELLED_UNPERMITTED)

    async def _role(self, origin: Origin, client: str) -> Role | None:
        if not self._permits(origin.host):
            return None
        if not self._registries.known(origin, client):
            registries = self._realms.senders(client, origin, self._clock())
            if any(map(self._registries.may_name_token_servers, registries)):
                asker = Asker(client, self._registries.reach_of(origin, client))
                return Role.TOKENS if await self._bears(origin, asker) else None
        reach = self._registries.reach_of(origin, client)
        registry = await self._registries.is_registry(origin, reach, client)
        return Role.REGISTRY if registry else None

    def why_tunnelled(self, origin: Origin) -> str | None:
        """Why a registry is not to be looked into; None where none is known to be there."""
        if not self._registries.fitness.was(origin):
            return "the host needs of its clients what the proxy has not (host_tunnelled)"
        if not self._registries.is_named(origin):
            return None
        if not self._permits(origin.host):
            return "the authority may not sign for this host (--permit)"
        return "--only-listed, and this host is not listed"

    def sent(self, client: str, registry: Origin, challenges: list[str]) -> None:
        """Take in that a client is given these challenges of a registry."""
        self._realms.sent(client, registry, challenges, self._clock())

    def tunnels(self, origin: Origin, client: str, fingerprint: Fingerprint) -> bool:
        """Whether a connection is to be tunnelled since its client does not trust us."""
        tunnelled = self._untrusting.tunnels(client, fingerprint, origin, self._clock())
        if tunnelled:
            self._events.count(Counter.TUNNELLED_UNTRUSTING)
        return tunnelled

    def certificate_refused(
        self, origin: Origin, client: str, fingerprint: Fingerprint = UNKNOWN
    ) -> Refusal | None:
        """Remember that a client does not trust our certificate; what follows, where it is news."""
        return self._untrusting.add(client, fingerprint, origin, self._clock())

    def certificate_trusted(self, origin: Origin, client: str, fingerprint: Fingerprint) -> None:
        """Remember that a client does trust it: it has sent a request."""
        self._untrusting.trusts(client, fingerprint, origin, self._clock())

    def certificate_fetched(self, client: str) -> None:
        """Take in that a client will trust our authority soon, since it has fetched that."""
        self._untrusting.fetched(client, self._clock())

    def untrusting_clients(self) -> list[UntrustingClient]:
        """The clients that do not trust our certificate, as far as is known."""
        return self._untrusting.shown(self._clock())

    async def _bears(self, server: Origin, asker: Asker) -> bool:
        """Whether a token server may be looked into."""
        known = self._registries.fitness.known(server, asker.client)
        if known is not None:
            return known
        if self._health.offline or self._health.is_away(server):
            return self._registries.fitness.was(server)

        async def find() -> bool:
            known = self._registries.fitness.known(server, asker.client)
            if known is None:
                await self._registries.fitness.look(server, asker.client, asker.reach, ask=True)
            return self._registries.fitness.was(server)

        return await self._registries.turns.once("inspect", server, asker, find, otherwise=False)

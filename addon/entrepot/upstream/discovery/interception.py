"""Which connections are intercepted, for which client: registries and their token servers.

Everything else goes through a blind tunnel (promise 4). So does that of a
client to a host for which it refused our certificate lately (``untrusting_clients``).

A token server is another host, which may be much else: a registry's word is not enough to look into
what everybody says to it. It is intercepted for a client that was sent there lately, by a registry
that is intercepted itself, at the port that was named; and ``Role`` says for what.
"""

from collections.abc import Callable
from enum import Enum, auto

from entrepot.auth.token_servers import Realms
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.discovery.probes import Asker
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from entrepot.upstream.discovery.untrusting_clients import UntrustingClients
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
        permits: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """``permits`` says for which hosts the authority may make a certificate."""
        self._health = health
        self._clock = clock
        self._realms = realms
        self._registries = registries
        self._permits = permits
        self._refused = UntrustingClients()

    async def intercepts(self, origin: Origin, client: str) -> bool:
        """Whether to look into what ``client`` (an address) and ``origin`` say to each other."""
        return await self.role(origin, client) is not None

    async def role(self, origin: Origin, client: str) -> Role | None:
        """As what ``origin`` is intercepted for ``client``; None for a blind tunnel."""
        if self._refused.refuses(client, origin, self._clock()):
            return None
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

    def sent(self, client: str, registry: Origin, challenges: list[str]) -> None:
        """Take in that a client is given these challenges of a registry."""
        self._realms.sent(client, registry, challenges, self._clock())

    def certificate_refused(self, origin: Origin, client: str) -> bool:
        """Remember that ``client`` does not trust our certificate; whether that is news."""
        return self._refused.add(client, origin, self._clock())

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

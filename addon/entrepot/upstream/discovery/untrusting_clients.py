"""Clients that refuse our certificate: a tunnel is theirs, so that one without the CA works."""

from entrepot.bounded_map import FairMap
from entrepot.protocol.identifiers import Origin

REFUSED_SECONDS = 600.0
MOST_REMEMBERED = 10_000
REMEMBERED_FOR_A_CLIENT = 1000


class UntrustingClients:
    """Which clients (by address) refused a certificate of ours for which host, for ten minutes."""

    def __init__(self) -> None:
        self._until: FairMap[tuple[str, Origin], float] = FairMap(
            MOST_REMEMBERED, REMEMBERED_FOR_A_CLIENT
        )

    def refuses(self, client: str, origin: Origin, now: float) -> bool:
        """Whether a client refused our certificate for a host lately."""
        return (self._until.peek((client, origin)) or 0.0) > now

    def add(self, client: str, origin: Origin, now: float) -> bool:
        """Remember that a client refuses it; whether that is news."""
        news = not self.refuses(client, origin, now)
        self._until.put((client, origin), now + REFUSED_SECONDS, client)
        return news

"""Which TLS servers can be intercepted without harm to their clients, remembered for an hour.

One that asks its clients for a certificate, or speaks no HTTP/1.1, is left alone: interception
would take from its clients what they need. A request that fails inside of an intercepted connection
may be a sign that a server has become one, so it is looked at again then.
"""

from collections.abc import Callable

from entrepot.bounded_map import FairMap
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.network_reach import Reach
from entrepot.upstream.discovery.probes import Inspection, Probes
from entrepot.upstream.host_health import HostHealth

REMEMBERED_SECONDS = 3600.0
BRIEFLY_SECONDS = 60.0
"""For what was not found out, and between two looks at a server that is doubted."""
MOST_REMEMBERED = 10_000
REMEMBERED_FOR_A_CLIENT = 1000


class TlsFitness:
    """Looks at TLS servers, and remembers what was found."""

    def __init__(
        self, probes: Probes, health: HostHealth, events: Events, clock: Callable[[], float]
    ) -> None:
        self._health = health
        self._events = events
        self._clock = clock
        self._probes = probes
        most = MOST_REMEMBERED, REMEMBERED_FOR_A_CLIENT
        self._known: FairMap[Origin, tuple[bool, float]] = FairMap(*most)
        self._doubted: FairMap[Origin, float] = FairMap(*most)

    def known(self, origin: Origin, client: str) -> bool | None:
        """Whether a server may be looked into, where that is known; ``client`` wants to know."""
        known = self._known.get(origin, client)
        return known[0] if known is not None and known[1] > self._clock() else None

    def was(self, origin: Origin) -> bool:
        """What is taken for true of a server that cannot be met: what it was, else the best.

        Nobody loses anything by a look at what does not answer, and gets a token of ours by it.
        """
        known = self._known.peek(origin)
        return known is None or known[0]

    async def look(
        self, origin: Origin, client: str, reach: Reach | None, *, ask: bool
    ) -> Inspection:
        """Look at a server, as :meth:`Probes.inspect` does, and remember what was found."""
        found = await self._probes.inspect(origin, reach, ask=ask)
        fit, seconds = found == Inspection(), REMEMBERED_SECONDS
        if found.problem is not None:
            # One that was fit and shows a wrong certificate now is out of order, as others are.
            met = self._known.peek(origin) is not None
            fit, seconds = (found.is_away or met) and self.was(origin), BRIEFLY_SECONDS
        if found.is_away and found.problem is not None:
            self._health.failed(found.problem)
        elif not fit:
            self._events.log(
                Event.HOST_TUNNELLED,
                host=origin,
                reason=found.unfit or found.problem,
                hint="nothing; --registry HOST intercepts it all the same",
            )
        self._known.put(origin, (fit, self._clock() + seconds), client)
        return found

    def is_to_be_looked_at(self, origin: Origin) -> bool:
        """Whether a server is to be looked at again that is doubted now: once a minute."""
        now = self._clock()
        if (self._doubted.peek(origin) or 0.0) > now:
            return False
        self._doubted.put(origin, now + BRIEFLY_SECONDS, "")
        return True

"""Which hosts are registries.

A host is a registry because it is listed, well known, learnt, or says so when asked (``probes``),
at most once an hour. Whatever goes wrong means «no». What asks its clients for a certificate, or
speaks no HTTP/1.1, is none either unless it is listed: interception would take from its clients
what they need (``tls_fitness``). What follows from it for a connection is ``interception``'s.
"""

import asyncio
import contextlib

from entrepot.bounded_map import FairMap
from entrepot.events.table import Event
from entrepot.http_client.connect.ssrf_guard import DestinationError
from entrepot.http_client.errors import UpstreamError
from entrepot.protocol.identifiers import HostPort, Origin
from entrepot.protocol.network_reach import Reach
from entrepot.protocol.quirks import is_well_known
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.probes import Asker, Inspection, ProbeBounds, Probes, ProbeTurns
from entrepot.upstream.discovery.tls_fitness import TlsFitness

YES_SECONDS = 7 * 24 * 3600.0
NO_SECONDS = 3600.0
UNREACHABLE_SECONDS = 60.0
MOST_REMEMBERED = 10_000
REMEMBERED_FOR_A_CLIENT = 1000
"""Hosts, and refusals. A client that names more loses what it named itself."""

_CACHED = "a registry, whose content is cached"
_ORDINARY = "passed through untouched, as every host that is no registry"
_SILENT = "passed through untouched, since it did not say what it is"
"""What a line says became of a host."""


class RegistryHosts:
    """Finds out and remembers, for a week in the store, which hosts are registries."""

    def __init__(
        self,
        context: Context,
        *,
        listed: tuple[HostPort, ...] = (),
        only_listed: bool = False,
        bounds: ProbeBounds | None = None,
    ) -> None:
        """``listed`` are the administrator's; with ``only_listed`` no other counts."""
        self._context = context
        self._listed = listed
        self._only_listed = only_listed
        self._probes = Probes(context)
        self.fitness = TlsFitness(self._probes, context.health, context.events, context.clock)
        self.turns = ProbeTurns(context, bounds)
        most = MOST_REMEMBERED, REMEMBERED_FOR_A_CLIENT
        self._verdicts: FairMap[Origin, tuple[bool, float]] = FairMap(*most)
        self._looking: set[asyncio.Task[None]] = set()

    async def is_registry(
        self, origin: Origin, reach: Reach | None = None, client: str = ""
    ) -> bool:
        """Whether a registry is at ``origin``; ``client`` is who wants to know.

        Where that is not known it is asked, as far as ``reach`` leads (None: anybody's word).
        """
        known = self.known(origin, client)
        return await self._find_out(origin, Asker(client, reach)) if known is None else known

    async def learn(self, origin: Origin, reach: Reach | None = None) -> None:
        """Take in that a registry answered at ``origin``, where ``reach`` led."""
        if not self.is_listed(origin) and not is_well_known(origin) and not self._was_one(origin):
            asker = Asker("", reach)
            with contextlib.suppress(DestinationError):
                await self._context.flights.once(
                    ("learn", origin), lambda: self._take_in(origin, asker)
                )

    def doubt(self, origin: Origin, client: str) -> None:
        """Look again at a host where a client's request failed inside of an interception."""
        if origin.scheme != "https" or self.is_listed(origin) or is_well_known(origin):
            return
        met = self._was_one(origin) or self.fitness.known(origin, "")
        if met and self.fitness.is_to_be_looked_at(origin):
            task = asyncio.create_task(self._look_again(origin, client))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    def is_listed(self, origin: Origin) -> bool:
        """Whether the administrator listed a host."""
        return any(
            entry.host == origin.host and entry.port in (None, origin.port)
            for entry in self._listed
        )

    def is_named(self, origin: Origin) -> bool:
        """Whether a host is a registry by its name: listed, well known, or found to be one."""
        return self.is_listed(origin) or is_well_known(origin) or self._was_one(origin)

    def excludes(self, origin: Origin) -> bool:
        """Whether only what is listed counts, and this is not."""
        return self._only_listed and not self.is_listed(origin)

    def may_name_token_servers(self, registry: Origin) -> bool:
        """Whether clients may be sent for tokens by a registry: one that is looked into itself.

        On the road of one without TLS anybody may write what it says.
        """
        if self.is_listed(registry):
            return True
        known = is_well_known(registry) or self._was_one(registry)
        return not self._only_listed and registry.scheme == "https" and known

    def reach_of(self, origin: Origin, client: str) -> Reach:
        """How far a client may be led that names a host."""
        destinations = self._context.gateway.upstream.destinations
        return destinations.named_by_client(origin.host, origin.port, client)

    def known(self, origin: Origin, client: str) -> bool | None:
        """Whether a registry is there, where nobody has to be asked."""
        if self.is_listed(origin):
            return True
        if self._only_listed:
            return False
        if is_well_known(origin):
            return True
        known = self._verdicts.get(origin, client)
        return known[0] if known is not None and known[1] > self._context.clock() else None

    def _was_one(self, origin: Origin) -> bool:
        return (self._verdicts.peek(origin) or (False, 0.0))[0]

    async def _find_out(self, origin: Origin, asker: Asker) -> bool:
        store, now = self._context.store, self._context.clock()
        row = await self._context.store_thread.run(lambda: store.hosts.get(origin), None)
        left = row.until - self._context.wall() if row is not None else 0.0
        # More than was ever given: the clock was set back since.
        if row is not None and row.registry and 0 < left <= YES_SECONDS:
            self._verdicts.put(origin, (True, now + left), asker.client)
            return True
        was_one = row is not None and row.registry
        if self._context.health.offline or (was_one and self._context.health.is_away(origin)):
            return was_one

        async def find() -> bool:
            known = self.known(origin, asker.client)
            return await self._find(origin, asker, was_one=was_one) if known is None else known

        return await self.turns.once("probe", origin, asker, find, otherwise=was_one)

    async def _find(self, origin: Origin, asker: Asker, *, was_one: bool) -> bool:
        verdict, seconds = await self._probe(origin, asker, was_one=was_one)
        if seconds == UNREACHABLE_SECONDS and was_one:
            # What it was: its content is served while it is away.
            self._verdicts.put(origin, (True, self._context.clock() + seconds), asker.client)
            return True
        if verdict:
            await self._found(origin, asker.client)
        else:
            await self._found_none(origin, asker.client, seconds, was_one=was_one)
        silent = seconds == UNREACHABLE_SECONDS
        outcome = _CACHED if verdict else _SILENT if silent else _ORDINARY
        self._context.events.log(Event.HOST_PROBED, host=origin, outcome=outcome)
        return verdict

    async def _probe(self, origin: Origin, asker: Asker, *, was_one: bool) -> tuple[bool, float]:
        """Ask a host whether it is a registry, and a fit one; and for how long a «no» counts.

        Of one that ``was_one`` it is remembered that it is silent, so that the request that comes
        next does not wait again.
        """
        answer = await self._probes.is_registry(origin, asker.reach, observed=was_one)
        if isinstance(answer, UpstreamError):
            if was_one:
                self._context.health.failed(answer)
            return False, UNREACHABLE_SECONDS
        if not answer or origin.scheme != "https":
            return answer, NO_SECONDS
        found = await self.fitness.look(origin, asker.client, asker.reach, ask=False)
        return found == Inspection(), UNREACHABLE_SECONDS if found.problem else NO_SECONDS

    async def _take_in(self, origin: Origin, asker: Asker) -> None:
        if origin.scheme == "https":
            found = await self.fitness.look(origin, asker.client, asker.reach, ask=False)
            if found != Inspection():
                return
        await self._found(origin, asker.client)

    async def _found(self, origin: Origin, client: str) -> None:
        self._verdicts.put(origin, (True, self._context.clock() + YES_SECONDS), client)
        await self._write(origin, registry=True, seconds=YES_SECONDS)

    async def _found_none(
        self, origin: Origin, client: str, seconds: float, *, was_one: bool
    ) -> None:
        self._verdicts.put(origin, (False, self._context.clock() + seconds), client)
        if was_one:
            await self._write(origin, registry=False, seconds=seconds)

    async def _write(self, origin: Origin, *, registry: bool, seconds: float) -> None:
        store = self._context.store
        await self._context.store_thread.run(
            lambda: store.hosts.set(origin, registry=registry, seconds=seconds), None
        )

    async def _look_again(self, origin: Origin, client: str) -> None:
        try:
            found = await self.fitness.look(origin, "", self.reach_of(origin, client), ask=True)
        except DestinationError:
            return
        if found.unfit:
            was_one = self._was_one(origin)
            await self._found_none(origin, "", NO_SECONDS, was_one=was_one)

"""What answering a request takes: the way to upstream, the store, and what is known of both.

Decisions live in ``auth`` and ``pull``; this holds the parts that they work with, so that each is
made once and for all.
"""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Self, TypeVar

from entrepot.auth.grants import Access
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request
from entrepot.storage.store import Store
from entrepot.storage.store_thread import StoreThread
from entrepot.transfer.single_flight import Flights
from entrepot.upstream.concurrency_limits import Slots
from entrepot.upstream.gateway import ANSWER_SECONDS, Gateway
from entrepot.upstream.host_health import HostHealth
from entrepot.upstream.relay import Relay
from entrepot.upstream.retry_policy import PATIENCE, Patience
from entrepot.upstream.worker_threads import WorkerThreads

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one proxy that its answers are made with, all for one event loop."""

    gateway: Gateway
    relay: Relay
    threads: WorkerThreads
    flights: Flights
    store_thread: StoreThread
    access: Access
    events: Events
    clock: Callable[[], float]
    """Seconds, never jumping: what is remembered in memory counts by it."""
    wall: Callable[[], float]
    """The time of day, for what is kept on disk or told to clients."""
    completes: Callable[[Origin], bool] = lambda _origin: True
    """Whether a registry's blobs are fetched to their ends where clients ask for parts alone."""

    @classmethod
    def make(
        cls,
        store: Store,
        upstream: HttpClient,
        access: Access,
        events: Events,
        clock: Callable[[], float],
        wall: Callable[[], float] | None = None,
        patience: Patience = PATIENCE,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        offline: bool = False,
        slots: Slots | None = None,
        completes: Callable[[Origin], bool] = lambda _origin: True,
    ) -> Self:
        """Put the parts together; without ``wall``, ``clock`` is the time of day as well.

        The times and ``offline`` are those of :class:`Gateway`.
        """
        threads, wall = WorkerThreads(slots), wall or clock
        gateway = Gateway(
            upstream,
            access,
            threads,
            events,
            clock,
            wall,
            patience,
            answer_seconds=answer_seconds,
            offline=offline,
        )
        return cls(
            gateway,
            Relay(threads, clock),
            threads,
            Flights(),
            StoreThread(store, events, clock),
            access,
            events,
            clock,
            wall,
            completes,
        )

    @property
    def health(self) -> HostHealth:
        """Which hosts answer, as the gateway finds out."""
        return self.gateway.health

    @property
    def store(self) -> Store:
        """The store, to be used on ``store_thread`` alone."""
        return self.store_thread.store

    async def ask_once(
        self,
        key: Hashable,
        request: Request,
        ask: Callable[[Request], Awaitable[T]],
        *,
        until_sent: bool = False,
    ) -> tuple[T, bool]:
        """Ask upstream once for all who ask the same and may be led as far (``Flights.join``)."""
        key = (self.gateway.reach_of(request), key)
        return await self.flights.join(key, request, ask, until_sent=until_sent)

    def close(self) -> None:
        """End the idle connections and the store's thread."""
        self.store_thread.close()
        self.gateway.upstream.close()

"""Evictions in the log: one line a batch, however many objects gave way.

One download may evict hundreds of objects, and a limit that is too small evicts all the time. So
what gave way is gathered for some seconds, and after each line for a minute.
"""

from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.maintenance.low_priority_thread import LowPriorityThread
from entrepot.storage.capacity.evicted import Evicted, EvictedBatch

_GATHER_SECONDS = 5.0
_BETWEEN_SECONDS = 60.0
_SPANS = ((3600.0, "hour"), (24 * 3600.0, "day"))


class EvictionLog:
    """Logs what was evicted, until it is stopped."""

    def __init__(self, evicted: Evicted, events: Events, gather: float = _GATHER_SECONDS) -> None:
        """``gather`` are the seconds after which a first line comes."""
        self._evicted = evicted
        self._events = events
        self._gather = gather
        self._thread = LowPriorityThread("eviction-log", self._work)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon, and log what is left; nothing is evicted any more."""
        self._thread.stop()
        self._log()

    def _work(self) -> None:
        while True:
            self._thread.pause(_BETWEEN_SECONDS if self._log() else self._gather)

    def _log(self) -> bool:
        batch = self._evicted.take()
        if batch is not None:
            self._events.log(
                Event.OBJECTS_EVICTED,
                blobs=batch.blobs,
                manifests=batch.manifests,
                size=batch.size,
                oldest=f"{batch.oldest:.0f}s",
                youngest=f"{batch.youngest:.0f}s",
                hint=_hint(batch),
            )
        return batch is not None


def _hint(batch: EvictedBatch) -> str | None:
    """What to do where something went that was used lately; None where nothing was."""
    for seconds, span in _SPANS:
        if batch.youngest < seconds:
            return f"what was used within the last {span} is evicted: a larger --size, or disk"
    return None

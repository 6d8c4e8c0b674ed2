"""What was evicted: counted at once, and gathered into batches, each of which is one log line."""

import threading
from dataclasses import dataclass

from entrepot.events.counters import Counter
from entrepot.events.log import Events


@dataclass(frozen=True, slots=True)
class EvictedBatch:
    """What gave way since the last batch. Sizes are bytes, ages seconds since the last use."""

    blobs: int
    manifests: int
    size: int
    oldest: float
    youngest: float

    def and_one(self, *, is_blob: bool, size: int, age: float) -> "EvictedBatch":
        """The same with one object more."""
        return EvictedBatch(
            self.blobs + is_blob,
            self.manifests + (not is_blob),
            self.size + size,
            max(self.oldest, age),
            min(self.youngest, age),
        )


class Evicted:
    """The batch that grows, from whichever thread evicts, until it is taken."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._batch: EvictedBatch | None = None

    def add(self, *, is_blob: bool, size: int, age: float) -> None:
        """Count an object that was removed just now, ``age`` seconds after its last use."""
        self._events.count(Counter.EVICTED_BLOBS if is_blob else Counter.EVICTED_MANIFESTS)
        self._events.count(Counter.EVICTED_BYTES, size)
        with self._lock:
            batch = self._batch or EvictedBatch(0, 0, 0, age, age)
            self._batch = batch.and_one(is_blob=is_blob, size=size, age=age)

    def take(self) -> EvictedBatch | None:
        """What gave way since this was last asked; None where nothing did."""
        with self._lock:
            batch, self._batch = self._batch, None
            return batch

"""How fast a transfer moves: whether it is worth waiting for, and worth more connections."""

import time
from collections.abc import Callable

from entrepot.http_client.response import Reply

WINDOW_SECONDS = 60.0
LEAST_RATE = 16 * 1024
"""Bytes a second below which a transfer does not move."""

_SAMPLE_SECONDS = 5.0
_RECENT_SECONDS = 10.0

JUDGE_SECONDS = 0.25
_FAST = 100 * 1024 * 1024
"""Bytes a second with which one connection is enough."""


class Throughput:
    """The bytes of the last minute, to tell a transfer that moves from one that drips.

    One thread counts; any may ask, also while that one waits for bytes.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` gives seconds and is never set."""
        self._clock = clock
        self._total = 0
        self._samples: tuple[tuple[float, int], ...] = ((clock(), 0),)
        # It is replaced as a whole, so that it can be read meanwhile.

    def add(self, count: int) -> None:
        """Count bytes that have come just now."""
        now = self._clock()
        self._total += count
        kept = self._samples
        if len(kept) > 1 and kept[-1][0] - kept[-2][0] < _SAMPLE_SECONDS:
            kept = kept[:-1]
        while len(kept) > 1 and kept[1][0] <= now - WINDOW_SECONDS:
            kept = kept[1:]
        self._samples = (*kept, (now, self._total))

    def rate(self) -> float:
        """Bytes a second of late, for who watches."""
        now, samples = self._clock(), self._samples
        recent = [sample for sample in samples if sample[0] > now - _RECENT_SECONDS]
        since, before = samples[max(0, len(samples) - len(recent) - 1)]
        return (self._total - before) / max(now - since, 0.1)

    def is_slow(self) -> bool:
        """Whether less came in the last minute than is worth waiting for; never in the first."""
        now = self._clock()
        older = [sample for sample in self._samples if sample[0] <= now - WINDOW_SECONDS]
        if not older:
            return False
        since, before = older[-1]
        return self._total - before < LEAST_RATE * (now - since)


class Pace:
    """Watches one connection, to say whether reading by several would be faster."""

    def __init__(self) -> None:
        self._bytes = 0
        self._seconds = 0.0
        self._waited = 0.0

    def read(self, source: Reply, most: int) -> bytes:
        """Read up to ``most`` bytes; note how fast they came, and whether upstream was waited for.

        Raises ``UpstreamError``.
        """
        waits = not source.is_ready()
        began = time.monotonic()
        data = source.read(most)
        spent = time.monotonic() - began
        self._bytes += len(data)
        self._seconds += spent
        self._waited += spent if waits else 0.0
        return data

    def is_slow(self) -> bool:
        """Whether upstream gives less than we could take."""
        return (
            self._seconds >= JUDGE_SECONDS
            and self._waited > self._seconds / 2
            and self._bytes < _FAST * self._seconds
        )

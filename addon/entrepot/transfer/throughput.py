"""How fast a transfer moved over the last minute, to tell one that moves from one that drips."""

WINDOW_SECONDS = 60.0
LEAST = 16 * 1024
"""Bytes a second below which a transfer does not move."""

_SAMPLE_SECONDS = 5.0


class Throughput:
    """Bytes by time. One thread counts; any may ask, also while that one waits for bytes."""

    def __init__(self, now: float) -> None:
        """``now`` and all later times are seconds of a clock that is never set."""
        self._total = 0
        self._samples: tuple[tuple[float, int], ...] = ((now, 0),)
        # It is replaced as a whole, so that it can be read meanwhile.

    def add(self, count: int, now: float) -> None:
        """Count bytes that have come."""
        self._total += count
        kept = self._samples
        if len(kept) > 1 and kept[-1][0] - kept[-2][0] < _SAMPLE_SECONDS:
            kept = kept[:-1]
        while len(kept) > 1 and kept[1][0] <= now - WINDOW_SECONDS:
            kept = kept[1:]
        self._samples = (*kept, (now, self._total))

    def is_slow(self, now: float) -> bool:
        """Whether less came in the last minute than is worth waiting for; never in the first."""
        older = [sample for sample in self._samples if sample[0] <= now - WINDOW_SECONDS]
        if not older:
            return False
        since, before = older[-1]
        return self._total - before < LEAST * (now - since)

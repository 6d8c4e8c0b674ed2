"""The clock by which everything counts that is remembered in memory."""

import time


def steady() -> float:
    """Seconds that go on whatever becomes of the time of day, and through a suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

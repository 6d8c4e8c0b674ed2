"""How much all transfers together may hold in memory.

A transfer holds a chunk until its client has taken it, so clients that stop reading could hold
any amount. One transfer, or five, get chunks of 1 MiB, which their speed needs; the more
is held, the smaller the next ones are.
"""

from entrepot.protocol.messages import CHUNK

BUDGET = 20 * CHUNK
"""Bytes that all transfers hold together, but for LEAST each."""

LEAST = 8 * 1024
"""What every transfer gets, however much the others hold."""

_SHARE = 4
"""A transfer gets at most this part of what is left: those who stall leave some for the others."""


class Budget:
    """Grants chunk sizes to transfers, each known by a key."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._total = 0

    def grant(self, key: str) -> int:
        """How many bytes the next chunk may have; what was granted before is given back."""
        self.release(key)
        size = min(CHUNK, max(LEAST, (BUDGET - self._total) // _SHARE))
        self._held[key] = size
        self._total += size
        return size

    def release(self, key: str) -> None:
        """Give back what a transfer was granted; twice is harmless."""
        self._total -= self._held.pop(key, 0)

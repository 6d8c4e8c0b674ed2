"""How many connections downloads may have beside the one that each of them has anyway.

Content networks limit each connection, and one connection fills a long line only slowly; so a
large blob from a slow upstream comes by several, and what clients wait for is fetched ahead. Where
none is left, a download's own connection does all of it, one after another.
"""

import threading
from collections import Counter

from entrepot.protocol.identifiers import Origin

MOST_OF_BLOB = 16
"""Connections for what clients of one blob wait for: as many as pullers of models open."""
HELPERS = 3
"""Further connections where one is slow, and a blob is fetched as a whole."""

_MOST_FURTHER = 96
_MOST_FURTHER_OF_HOST = 48


class ConnectionBudget:
    """How many further connections all downloads together may have, and those from one host."""

    def __init__(self, most: int = _MOST_FURTHER, of_host: int = _MOST_FURTHER_OF_HOST) -> None:
        self.most = most
        self._of_host = of_host
        self._taken: Counter[Origin] = Counter()
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """How many are left."""
        return self.most - self._taken.total()

    def take(self, host: Origin) -> bool:
        """Take one; False where there is none for this host."""
        with self._lock:
            if self._taken.total() >= self.most or self._taken[host] >= self._of_host:
                return False
            self._taken[host] += 1
            return True

    def give(self, host: Origin) -> None:
        """Give one back."""
        with self._lock:
            self._taken[host] -= 1
            self._taken += Counter()  # forgets hosts that have none


budget = ConnectionBudget()

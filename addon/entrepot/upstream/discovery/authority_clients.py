"""Who uses our authority, and who has fetched what is announced: what a rotation may wait for.

Whether a client trusts an authority that does not sign yet cannot be known. What is known of an
address is when it last showed trust in the authority that signs (``untrusting_clients``), and when
somebody there last fetched ``/ca.pem``. Many clients may have one address, who fetches may not
install, and an engine may have to be restarted; who got the certificates by another way fetches
nothing. So this is for an administrator, and nothing is decided by it.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from entrepot.bounded_map import BoundedMap

LATELY_SECONDS = 7 * 86400.0
"""Who was not seen for so long is not waited for."""
MOST_REMEMBERED = 10_000

Rows = Mapping[str, tuple[float, float | None]]
"""By address: when it was last seen and when it last fetched."""


@dataclass(frozen=True, slots=True)
class WaitingClient:
    """A client that has not fetched what is announced, as far as is known."""

    address: str
    seen: float
    """When it last showed trust; seconds since 1970."""


@dataclass(slots=True)
class _Row:
    seen: float = -inf
    fetched: float = -inf


class AuthorityClients:
    """The addresses of clients that trust us; on any thread. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._rows: BoundedMap[str, _Row] = BoundedMap(MOST_REMEMBERED)
        self._lock = threading.Lock()
        self.fetches = 0
        """How often one of them fetched."""

    def seen(self, client: str, handshake: float) -> None:
        """Take in that a client trusted what signed at the time of its handshake."""
        with self._lock:
            row = self._row(client)
            row.seen = max(row.seen, handshake)

    def fetched(self, client: str, now: float) -> None:
        """Take in that somebody at an address has fetched what clients are given to trust."""
        with self._lock:
            self._row(client).fetched = now
            self.fetches += 1

    def waiting(
        self, announced: float, switched: float | None, now: float
    ) -> tuple[list[WaitingClient], int]:
        """Who may not be ready, the latest first, of how many that were seen lately.

        That is who has not fetched since it was ``announced``, and has not shown either, since it
        was ``switched``, that it trusts the successor.
        """
        with self._lock:
            lately = [(a, row) for a, row in self._rows.items() if now < row.seen + LATELY_SECONDS]
            waiting = [
                WaitingClient(address, row.seen)
                for address, row in lately
                if row.fetched < announced and (switched is None or row.seen < switched)
            ]
        return sorted(waiting, key=lambda one: -one.seen), len(lately)

    def rows(self) -> Rows:
        """What is known, to be kept."""
        with self._lock:
            return {
                address: (row.seen, None if row.fetched == -inf else row.fetched)
                for address, row in self._rows.items()
                if row.seen > -inf
            }

    def restore(self, rows: Rows) -> None:
        """Take in what was kept; what is known already counts more."""
        with self._lock:
            for address, (seen, fetched) in rows.items():
                row = self._row(address)
                row.seen = max(row.seen, seen)
                row.fetched = max(row.fetched, -inf if fetched is None else fetched)

    def _row(self, client: str) -> _Row:
        row = self._rows.get(client)
        if row is None:
            row = _Row()
        self._rows.put(client, row)
        return row

"""What clients show of the authorities of a rotation: by which of them to sign for whom.

Whether a client trusts an authority that does not sign yet cannot be known. What is known of an
address is when it last showed trust (by a request inside of TLS), in which authority, and when
somebody there last fetched ``/ca.pem``. Many clients may have one address, who fetches may not
install, and an engine may have to be restarted; who got the certificates by another way fetches
nothing.

So after the switch, by address:

=====================  =====================  ==============================================
trusts the successor   the predecessor        is signed for by
or has fetched it
=====================  =====================  ==============================================
no, or not known       yes                    the predecessor: that works for certain
no, or not known       not known              the successor
yes                    yes, or not known      the successor
=====================  =====================  ==============================================

A client that refuses the one gets the other from its next connection on; by that clients of one
address are told apart by their ClientHello, as in ``untrusting_clients``. Who refuses both trusts
neither.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from entrepot.bounded_map import BoundedMap, FairMap
from entrepot.upstream.discovery.tls_fingerprint import Fingerprint

LATELY_SECONDS = 7 * 86400.0
"""Who was not seen for so long is not waited for."""
MOST_REMEMBERED = 10_000
_REFUSALS_OF_AN_ADDRESS = 100

Rows = Mapping[str, tuple[float, float | None, float | None]]
"""By address: when it was last seen, when it last fetched, when it last trusted a successor."""


@dataclass(frozen=True, slots=True)
class WaitingClient:
    """A client that may not be ready for the successor."""

    address: str
    seen: float
    """When it last showed trust; seconds since 1970."""


@dataclass(slots=True)
class _Row:
    seen: float = -inf
    fetched: float = -inf
    successor: float = -inf

    def is_ready(self, announced: float) -> bool:
        """Whether it has fetched what is announced since then, or has shown trust in it."""
        return max(self.fetched, self.successor) >= announced


@dataclass(slots=True)
class _Refusals:
    """Which authorities a client refused: the predecessor (True), the successor (False)."""

    of: set[bool] = field(default_factory=set)


class AuthorityClients:
    """What is known of clients; on any thread. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._rows: BoundedMap[str, _Row] = BoundedMap(MOST_REMEMBERED)
        self._refusals: FairMap[tuple[str, Fingerprint], _Refusals] = FairMap(
            MOST_REMEMBERED, _REFUSALS_OF_AN_ADDRESS
        )
        self._lock = threading.Lock()
        self.fetches = 0
        """How often one of them fetched."""

    def trusted(self, address: str, now: float, *, successor: bool = False) -> None:
        """Take in that a client has sent a request; whether the ``successor`` signed for it."""
        with self._lock:
            row = self._row(address)
            row.seen = max(row.seen, now)
            if successor:
                row.successor = now

    def fetched(self, address: str, now: float) -> None:
        """Take in that somebody at an address has fetched what clients are given to trust."""
        with self._lock:
            self._row(address).fetched = now
            self.fetches += 1
            for key in self._refusals.owned(address):
                self._refusals.forget(key)

    def needs_predecessor(self, address: str, shown: Fingerprint, announced: float) -> bool:
        """Whether a client is to be signed for by the predecessor, though the successor signs."""
        with self._lock:
            refusals = self._refusals.peek((address, shown))
            if refusals is not None:
                return refusals.of == {False}
            row = self._rows.get(address)
            return row is not None and row.seen > -inf and not row.is_ready(announced)

    def refused(self, address: str, shown: Fingerprint, *, predecessor: bool) -> bool:
        """Take in a refusal after the switch; whether the other authority is worth a try."""
        with self._lock:
            key = address, shown
            refusals = self._refusals.get(key, address) or _Refusals()
            refusals.of.add(predecessor)
            self._refusals.put(key, refusals, address)
            return len(refusals.of) == 1

    def forget_refusals(self) -> None:
        """They were of authorities that are not those of the rotation any more."""
        with self._lock:
            for key in list(self._refusals):
                self._refusals.forget(key)

    def waiting(self, announced: float, now: float) -> tuple[list[WaitingClient], int]:
        """Who may not be ready, the latest first, of how many that were seen lately."""
        with self._lock:
            lately = [(a, row) for a, row in self._rows.items() if now < row.seen + LATELY_SECONDS]
            waiting = [
                WaitingClient(a, row.seen) for a, row in lately if not row.is_ready(announced)
            ]
        return sorted(waiting, key=lambda one: -one.seen), len(lately)

    def rows(self) -> Rows:
        """What is known, to be kept."""
        with self._lock:
            return {
                address: (row.seen, _known(row.fetched), _known(row.successor))
                for address, row in self._rows.items()
                if row.seen > -inf
            }

    def restore(self, rows: Rows) -> None:
        """Take in what was kept; what is known already counts more."""
        with self._lock:
            for address, (seen, fetched, successor) in rows.items():
                row = self._row(address)
                row.seen = max(row.seen, seen)
                row.fetched = max(row.fetched, -inf if fetched is None else fetched)
                row.successor = max(row.successor, -inf if successor is None else successor)

    def _row(self, address: str) -> _Row:
        row = self._rows.get(address)
        if row is None:
            row = _Row()
        self._rows.put(address, row)
        return row


def _known(time: float) -> float | None:
    return None if time == -inf else time

"""Clients that refuse our certificate: a tunnel is theirs, so that one without the CA works.

Whether a client trusts us shows at its handshake alone: too late for that connection, so one that
does not trust us fails once. From its next connection on it is tunnelled for a while, uncached.
A client is told apart from others at its address by its ClientHello (``tls_fingerprint``), and what
it showed counts for the host, since engines may trust an authority for single hosts (``certs.d``).
A *proof of trust* is a request inside of TLS: some libraries end the handshake before they judge.

Two programs of one version look the same at one address. Where one of them trusts us and the other
does not, one has to give way: a tunnel too many costs the one its cache, a look too many costs the
other its connection. The table says who, by what was seen of (address, ClientHello, host):

=====================  =====================================  ======================================
it refused us          a proof of trust                       the next connection
=====================  =====================================  ======================================
never here             anywhere, or no refusal elsewhere      looked into
never here             none; a tunnel is its at another host  a tunnel for 10 minutes: it has failed
                                                              once, which is enough
once                   none since the refusal before          begins a tunnel of 10 minutes
again, within an hour  none since the refusal before          20 minutes, 40, then an hour
once                   since the refusal before               begins a tunnel of 1 minute, in which
                                                              who was refused comes again
again, within an hour  since the refusal before               2 minutes, 4, 8, then 10
it has a tunnel        comes now (its handshake began before) the tunnel ends in a minute
=====================  =====================================  ======================================

A tunnel begins with the connection that needs it, if that comes within 10 minutes (or the time of
the tunnel, where that is longer). Afterwards the client is looked into again. So one without the CA
fails once an hour at the most, if nobody who looks the same trusts us, else once in 10 minutes; and
one with the CA is cached again after a minute where refusals are rare, after 10 where they are not.

Who fetches our certificate is about to trust it: tunnels of its address end, once an hour at most.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from entrepot.bounded_map import FairMap
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.discovery.tls_fingerprint import Fingerprint

REFUSED_SECONDS = 600.0
"""The first tunnel of a client that nobody like it disproves, and the longest of another."""
LONGEST_SECONDS = 3600.0
BRIEF_SECONDS = 60.0
REMEMBERED_SECONDS = 86400.0
"""For how long a proof of trust counts, and a client is shown."""
MOST_REMEMBERED = 10_000
REMEMBERED_FOR_A_CLIENT = 1000
MOST_SHOWN = 100

_Key = tuple[str, Fingerprint, Origin]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A client's refusal, as far as it is news."""

    seconds: float
    """How long a tunnel its next connection begins."""
    others_trust: bool
    """Whether a client at its address has shown lately that it trusts us."""


@dataclass(frozen=True, slots=True)
class UntrustingClient:
    """A client that refused our certificate in the last day; ages are in seconds."""

    address: str
    fingerprint: Fingerprint
    hosts: tuple[str, ...]
    since: float
    """How long ago it first refused."""
    last: float
    """How long ago it last refused, or had a tunnel."""
    refused: int
    tunnelled: int
    """Connections."""
    others_trust: bool


@dataclass(slots=True)
class _Row:
    """What one client showed at one host, and the tunnel that it has there by that."""

    trusted: float = -inf
    """When it last proved its trust."""
    first: float = inf
    """When it first refused, or had a tunnel for what it refused elsewhere."""
    refused: float = -inf
    """When it last refused."""
    refusals: int = 0
    in_a_row: int = 0
    said: float = -inf
    """When a refusal was news."""
    seconds: float = 0.0
    """How long a tunnel the next connection begins."""
    until: float = -inf
    """When the tunnel ends that has begun."""
    last_tunnel: float = -inf
    tunnelled: int = 0

    def is_due(self, now: float) -> bool:
        """Whether the next connection begins a tunnel."""
        return self.seconds > 0 and now < self.refused + max(self.seconds, REFUSED_SECONDS)

    def has_tunnel(self, now: float) -> bool:
        return self.is_due(now) or now < self.until

    def end_tunnel(self, now: float) -> None:
        self.seconds, self.until = 0.0, min(self.until, now)

    def refuse(self, now: float) -> None:
        """Take in a refusal, and say how long a tunnel it is worth."""
        ended = max(self.until, self.refused)
        self.in_a_row = self.in_a_row + 1 if now < ended + LONGEST_SECONDS else 1
        disproved = self.trusted > max(self.refused, now - REMEMBERED_SECONDS)
        first, most = (
            (BRIEF_SECONDS, REFUSED_SECONDS) if disproved else (REFUSED_SECONDS, LONGEST_SECONDS)
        )
        self.seconds = min(most, first * 2.0 ** min(self.in_a_row - 1, 10))
        self.first, self.refused = min(self.first, now), now

    def is_shown(self, now: float) -> bool:
        """Whether it does not trust us still, as far as is known."""
        last = max(self.refused, self.last_tunnel)
        mended = self.trusted > self.refused and now > last + LONGEST_SECONDS
        return self.first < inf and now < last + REMEMBERED_SECONDS and not mended


class UntrustingClients:
    """Which clients refused a certificate of ours for which host, and what follows from it."""

    def __init__(self) -> None:
        self._rows: FairMap[_Key, _Row] = FairMap(MOST_REMEMBERED, REMEMBERED_FOR_A_CLIENT)
        self._fetched: FairMap[str, float] = FairMap(MOST_REMEMBERED, 1)

    def tunnels(self, client: str, fingerprint: Fingerprint, origin: Origin, now: float) -> bool:
        """Whether a connection that begins now is to be tunnelled."""
        key = (client, fingerprint, origin)
        row = self._rows.get(key, client)
        if row is None and self._has_failed_elsewhere(client, fingerprint, now):
            row = self._row(key)
            row.first, row.until = now, now + REFUSED_SECONDS
        if row is None:
            return False
        if row.is_due(now):
            row.until = now + row.seconds
        row.seconds = 0.0
        if now >= row.until:
            return False
        row.tunnelled, row.last_tunnel = row.tunnelled + 1, now
        return True

    def refuses(self, client: str, origin: Origin, now: float) -> bool:
        """Whether any client at an address has a tunnel to a host."""
        return any(at == origin and row.has_tunnel(now) for _, at, row in self._of(client))

    def add(
        self, client: str, fingerprint: Fingerprint, origin: Origin, now: float
    ) -> Refusal | None:
        """Take in a refusal; what follows, where that is news: once in ten minutes."""
        row = self._row((client, fingerprint, origin))
        row.refusals += 1
        if row.has_tunnel(now):
            return None  # its handshake began before the refusal that counts
        row.refuse(now)
        if now < row.said + REFUSED_SECONDS:
            return None
        row.said = now
        return Refusal(row.seconds, self._anybody_trusts(client, now))

    def trusts(self, client: str, fingerprint: Fingerprint, origin: Origin, now: float) -> None:
        """Take in a proof of trust."""
        row = self._row((client, fingerprint, origin))
        row.trusted = now
        row.seconds = min(row.seconds, BRIEF_SECONDS)
        row.until = min(row.until, now + BRIEF_SECONDS)

    def fetched(self, client: str, now: float) -> None:
        """Take in that somebody at an address has fetched our certificate."""
        if now < (self._fetched.peek(client) or -inf) + LONGEST_SECONDS:
            return
        rows = [row for _, _, row in self._of(client) if row.has_tunnel(now)]
        for row in rows:
            row.end_tunnel(now)
        if rows:
            self._fetched.put(client, now, client)

    def shown(self, now: float) -> list[UntrustingClient]:
        """The clients that do not trust us, the latest first; a hundred at the most."""
        found: dict[tuple[str, Fingerprint], dict[Origin, _Row]] = {}
        for key in self._rows:
            row = self._rows.peek(key)
            if row is not None and row.is_shown(now):
                found.setdefault(key[:2], {})[key[2]] = row
        shown = [self._shown(*client, rows, now) for client, rows in found.items()]
        return sorted(shown, key=lambda one: one.last)[:MOST_SHOWN]

    def _shown(
        self, client: str, fingerprint: Fingerprint, rows: dict[Origin, _Row], now: float
    ) -> UntrustingClient:
        return UntrustingClient(
            client,
            fingerprint,
            tuple(sorted(origin.authority for origin in rows)),
            now - min(row.first for row in rows.values()),
            now - max(max(row.refused, row.last_tunnel) for row in rows.values()),
            sum(row.refusals for row in rows.values()),
            sum(row.tunnelled for row in rows.values()),
            self._anybody_trusts(client, now),
        )

    def _has_failed_elsewhere(self, client: str, fingerprint: Fingerprint, now: float) -> bool:
        """Whether a client has a tunnel at another host, and proved its trust at none."""
        rows = [row for like, _, row in self._of(client) if like == fingerprint]
        if any(now < row.trusted + REMEMBERED_SECONDS for row in rows):
            return False
        return any(row.refusals > 0 and row.has_tunnel(now) for row in rows)

    def _anybody_trusts(self, client: str, now: float) -> bool:
        return any(now < row.trusted + REMEMBERED_SECONDS for _, _, row in self._of(client))

    def _of(self, client: str) -> Iterator[tuple[Fingerprint, Origin, _Row]]:
        for key in self._rows.owned(client):
            row = self._rows.peek(key)
            if row is not None:
                yield key[1], key[2], row

    def _row(self, key: _Key) -> _Row:
        row = self._rows.get(key, key[0])
        if row is None:
            row = _Row()
            self._rows.put(key, row, key[0])
        return row

"""What registries say to anybody's ping, remembered for five minutes.

A challenge, or that the registry is open: it is the same whoever asks, and gives no right to
anything, since content is decided on by itself. Whoever shows anything of itself gets an answer of
its own (see ``pings``), and one that says something else ends the memory.
"""

from dataclasses import dataclass

from entrepot.bounded_map import BoundedMap
from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import ASKS_FOR_MORE, OF_A_PING, end_to_end, only
from entrepot.protocol.headers import parse_challenges
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import (
    Answer,
    Fields,
    Request,
    field_values,
    says_registry,
)

REMEMBERED_SECONDS = 300.0
_MOST_REMEMBERED = 1000
_STATELESS = frozenset({"basic", "bearer"})
"""Schemes whose challenge is the same for all; others carry a nonce, or belong to a connection."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a registry says to anybody's ping."""

    status: int
    challenges: list[str]
    headers: Fields
    content: bytes
    server: Origin | None
    """Where it sends for a token."""
    at: float

    def answer(self, now: float) -> Answer:
        """The same for another client, and how old it is (RFC 9111 section 5.1)."""
        return Answer(
            self.status,
            (
                *self.headers,
                ("Content-Length", str(len(self.content))),
                ("Age", str(max(0, int(now - self.at)))),
                cache_status.PING,
            ),
            self.content,
        )


class PingMemory:
    """The last answer of each registry. Times are seconds of the caller's clock."""

    def __init__(self) -> None:
        self._last: BoundedMap[Origin, Remembered] = BoundedMap(_MOST_REMEMBERED)

    def last(self, origin: Origin) -> Remembered | None:
        """What a registry said last, however long ago."""
        return self._last.get(origin)

    def fresh(self, origin: Origin, now: float) -> Remembered | None:
        """The same where others may be told so still."""
        last = self._last.get(origin)
        return last if last is not None and now < last.at + REMEMBERED_SECONDS else None

    def remember(
        self, origin: Origin, reply: Reply, content: bytes, server: Origin | None, now: float
    ) -> None:
        """Remember an answer that is fit for all; ``content`` is its body."""
        kept = only(end_to_end(reply.headers), OF_A_PING)
        challenges = field_values(reply.headers, "WWW-Authenticate")
        said = Remembered(reply.status, challenges, kept, content, server, now)
        self._last.put(origin, said)

    def challenged(self, origin: Origin) -> None:
        """Forget that a registry is open, where it refused something with a challenge."""
        last = self._last.get(origin)
        if last is not None and last.status != 401:
            self._last.pop(origin)

    def answered(self, origin: Origin, status: int, challenges: list[str]) -> None:
        """Forget what a registry said, where it answered a ping otherwise."""
        last = self._last.get(origin)
        if last is not None and (last.status, last.challenges) != (status, challenges):
            self._last.pop(origin)


def is_anybodys(request: Request) -> bool:
    """Whether a ping that shows nobody is answered the same whoever sends it."""
    plain = request.method == "GET" and request.path == "/v2/" and not request.query
    return plain and not any(name.lower() in ASKS_FOR_MORE for name, _ in request.headers)


def is_fit_for_all(reply: Reply) -> bool:
    """Whether an answer to anybody's ping may be given to others: a challenge, or an open door."""
    if "no-store" in (reply.value("Cache-Control") or "").lower():
        return False
    if (reply.value("Content-Encoding") or "identity").lower() != "identity":
        return False
    schemes = {
        challenge.scheme
        for challenge in parse_challenges(field_values(reply.headers, "WWW-Authenticate"))
    }
    if reply.status == 401:
        return bool(schemes) and schemes <= _STATELESS
    return reply.status == 200 and says_registry(reply.headers)

"""Clients that can get no token, since their registry or its token server is away.

They are told to go on without one (``endpoints.pings``, ``endpoints.tokens``), and remembered here
for a while. Upstream, which would only tell them to get a token, is not asked for what they may
have without it (``stale``): for a minute where it is a tag, for ten where it is content by digest.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from entrepot.protocol.header_filters import identity_fields
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request

_TOLD_SECONDS = 60.0
_STILL_PULLING_SECONDS = 600.0
"""What a client that was told to go on without a token may take for the layers of its pull."""


@dataclass(frozen=True, slots=True)
class _Told:
    """That clients of a registry were told to go on without a token."""

    at: float
    away: frozenset[Origin]
    """The registry, or its token server."""


class WithoutToken:
    """Which registries' clients were told lately to go on without a token."""

    def __init__(self, clock: Callable[[], float], is_away: Callable[[Origin], bool]) -> None:
        """``clock`` gives seconds and never jumps; ``is_away``: a host is known not to answer."""
        self._clock = clock
        self._is_away = is_away
        self._told: dict[Origin, _Told] = {}

    def told(self, origin: Origin, away: Collection[Origin]) -> None:
        """Remember that clients of a registry were told so just now, and who is away."""
        self._told[origin] = _Told(self._clock(), frozenset(away))

    def are_told(self, origin: Origin, within: float = _TOLD_SECONDS) -> bool:
        """Whether clients of a registry were told so within the last minute, or ``within``."""
        told = self._told.get(origin)
        return told is not None and self._clock() < told.at + within

    def would_be_challenged(self, request: Request, *, by_digest: bool) -> bool:
        """Whether upstream would only tell this client to get a token that is not to be had."""
        if request.account is not None:
            return False
        within = _STILL_PULLING_SECONDS if by_digest else _TOLD_SECONDS
        return request.without_token or (
            self.are_told(request.origin, within) and not identity_fields(request)
        )

    def lacks_one(self, request: Request) -> bool:
        """Whether a client that upstream refused shows no token only since it could get none."""
        if request.account is not None:
            return False
        if request.without_token:
            return True
        told = self._told.get(request.origin)
        return (
            told is not None
            and self.are_told(request.origin)
            and not identity_fields(request)
            and any(map(self._is_away, told.away))
        )

"""What an upstream is asked: where, and how far to go for an answer."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, Self
from urllib.parse import urljoin, urlsplit

from entrepot.protocol.identifiers import Origin
from entrepot.protocol.network_reach import Reach
from entrepot.version import VERSION

USER_AGENT = f"entrepot/{VERSION}"
"""As what the proxy asks of its own, and whatever is to be told to more than one client."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: an origin and a raw path with query."""

    origin: Origin
    path: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Split an absolute URL; ValueError where it is no http(s) one with a host."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("want an absolute http or https URL")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = parts.path or "/"
        return cls(
            Origin.make(parts.scheme, parts.hostname, port),
            f"{path}?{parts.query}" if parts.query else path,
        )

    def join(self, location: str) -> Self:
        """The target that a ``Location`` value names, relative ones included."""
        return self.parse(urljoin(f"{self.origin}{self.path}", location))


class Follow(Enum):
    """Which redirects to follow."""

    NO = auto()
    ANY = auto()


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How far to go for the answer to one request."""

    follow: Follow
    """Which redirects to follow; one that may not be followed is the answer, as it came."""
    downgrade: bool = False
    """Whether a redirect may lead from https to plain http: only for what a digest names."""
    reach: Reach | None = None
    """How far whoever named the target may be led (``ssrf_guard``); None: nobody in particular."""
    seconds: float | None = None
    """For connections, redirects and the head of the answer together; None: the usual deadline."""
    observed: bool = True
    """Whether the :class:`Observer` hears of it: not where a host is asked what it is."""


class Observer(Protocol):
    """Hears of each request to each host, redirects too; on the thread that made it."""

    def answered(self, origin: Origin, status: int, seconds: float) -> None:
        """A host answered, ``seconds`` after the request was begun, connection and all."""

    def failed(self, origin: Origin, reason: str) -> None:
        """A host gave no answer, or no whole one; the reason quotes nothing of a URL."""

"""The record of one request: who asked for what, what was answered, why, and what it cost.

It has no secret and no place for one: no header field but the bounded name of the client's
program, no query, no path but what is parsed as a repository and a reference.
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from entrepot.observe.outcome import Outcome
from entrepot.protocol.quirks import HUB_NAME

LONGEST_AGENT = 120
LONGEST_REASON = 300
"""Characters that are kept."""

_CONTENT = frozenset({"manifest", "index", "blob"})
_HITS = frozenset({Outcome.HIT, Outcome.COLLAPSED})


class Road(Enum):
    """How a client reached the proxy."""

    PROXY = "proxy"
    TRANSPARENT = "transparent"
    MIRROR = "mirror"


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request that touched the cache, or one tunnel to a registry.

    Texts that mean nothing for it are empty. Bytes are those of bodies.
    """

    at: float
    """When it came, in seconds of the time of day."""
    client: str
    """The client's address, or its network (``--record networks``)."""
    agent: str
    """What the client's program calls itself."""
    road: Road
    registry: str
    """The registry as one names it: ``docker.io``, ``registry.corp.example:5000``."""
    kind: str
    """What was asked for: ``manifest``, ``index``, ``blob``, ``ping``, ``token``, ``tunnel``…"""
    repository: str
    reference: str
    """A tag or a digest."""
    method: str
    status: int
    """What the client got; 0 where it left before."""
    answered: str
    """What ``Cache-Status`` said, without the cache's name."""
    outcome: Outcome
    why: str
    """The reason of the decision."""
    cut: str
    """Why the answer ended before its end; empty where it did not."""
    sent: int
    from_disk: int
    from_upstream: int
    first_byte_ms: int
    """Milliseconds until the head of the answer was there."""
    total_ms: int

    @property
    def is_content(self) -> bool:
        """Whether it is a manifest or a blob that the client got, or would by GET."""
        return self.kind in _CONTENT and self.status < 400 and self.outcome is not Outcome.BYPASS

    @property
    def is_hit(self) -> bool:
        """Whether it is one that the registry did not have to send for this request."""
        return self.is_content and self.outcome in _HITS

    @property
    def is_hub_pull(self) -> bool:
        """Whether Docker Hub would count it as a pull, had it come there.

        Docker Hub counts GETs of manifests and no HEAD ("version check"): an image of one platform
        is one pull, one of many is one for each platform that is fetched, so the index that lists
        them is none (https://docs.docker.com/docker-hub/usage/pulls/, "Pull definition"). What was
        refused is none.
        """
        return (
            self.registry == HUB_NAME
            and self.kind == "manifest"
            and self.method == "GET"
            and self.status == 200
        )


@lru_cache(maxsize=1024)
def cleaned_agent(text: str) -> str:
    """A User-Agent that may be shown: printable ASCII, bounded."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:LONGEST_AGENT])

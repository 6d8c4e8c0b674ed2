"""What became of a request, in few words, and where its bytes came from.

``Cache-Status`` says it to the client in the field's own words; an outcome is one of six that add
up, for sums and charts. Which bytes count as what:

- *from disk*: what was here, or came for another client just then (``collapsed``);
- *from upstream*: what came over the line for this request. The request that began a fetch counts
  all of that, also what comes after its client has left;
- neither: what was answered from memory (a ping, a list) or made up here (an error).

So what the cache saved is what it sent less what came from upstream, whatever is added up.
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from entrepot.protocol.cache_status import REASONS


class Outcome(Enum):
    """What became of a request; the values are bounded, for labels."""

    HIT = "hit"
    """Answered here."""
    MISS = "miss"
    """Fetched from the registry, or the registry's own refusal."""
    COLLAPSED = "collapsed"
    """Answered by the fetch of another client."""
    BYPASS = "bypass"
    """Passed through: such requests are never answered here."""
    ERROR = "error"
    """An error of the proxy's own."""
    TUNNEL = "tunnel"
    """A blind tunnel to a registry."""


@dataclass(frozen=True, slots=True)
class CacheAnswer:
    """A value of ``Cache-Status``, understood."""

    outcome: Outcome
    detail: str
    """Its ``detail``; empty where it has none."""
    reason: str
    """Why, where the answer itself does not say more."""
    fwd_status: str = ""
    """What the registry answered, where that is what the client got."""

    @property
    def is_from_memory(self) -> bool:
        """Whether no byte of it came from the disk or the registry."""
        if self.outcome is Outcome.HIT:
            return self.detail in _FROM_MEMORY
        return self.outcome is Outcome.ERROR


_FROM_MEMORY = frozenset({"ping", "offline", "account", "catalog", "tags"})


def said_by_us(values: list[str]) -> str:
    """What this cache said in ``Cache-Status``, without its name; others may stand before it."""
    for value in reversed(values):
        name, mark, parameters = value.rpartition(",")[2].strip().partition(";")
        if name.strip() == "entrepot":
            return parameters.strip() if mark else ""
    return ""


@lru_cache(maxsize=256)
def understood(parameters: str) -> CacheAnswer:
    """What the parameters of a ``Cache-Status`` of ours mean."""
    words = [word.strip() for word in parameters.split(";")]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    detail, status = named.get("detail", ""), named.get("fwd-status", "")
    reason = REASONS.get(parameters)
    if reason is None:
        reason = (
            f"the registry answered {status}"
            if status
            else f"the registry is asked each time: {detail or 'other'}"
        )
    return CacheAnswer(_outcome(words, named), detail, reason, status)


def _outcome(words: list[str], named: dict[str, str]) -> Outcome:
    if "collapsed" in words:
        return Outcome.COLLAPSED
    if named.get("fwd") == "miss":
        return Outcome.MISS
    if named.get("fwd") == "bypass":
        return Outcome.BYPASS
    return Outcome.ERROR if named.get("detail") == "error" else Outcome.HIT

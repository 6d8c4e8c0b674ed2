"""When a tag may be answered from the cache (promise 5: a tag is never silently stale).

A tag moves, so upstream is asked every time, but only by HEAD where that can spare the rest:
Docker Hub counts manifest GETs, not HEADs. Two decisions, both pure: how to ask, and what
upstream's word means for what is held. And of two words the one counts that was asked for later:
what was asked before a push may be answered long after it.
"""

from dataclasses import dataclass
from enum import Enum

from entrepot.bounded_map import BoundedMap
from entrepot.protocol.identifiers import Digest, Repository

_MOST_TAGS = 10_000


class Ask(Enum):
    """How to ask upstream about a tag."""

    HEAD = "revalidate: one HEAD may spare the GET"
    GET = "fetch: nothing is known that a HEAD could confirm"


class Verdict(Enum):
    """What to do with upstream's answer to that HEAD."""

    SERVE = "unchanged: the held manifest is the answer"
    FETCH = "changed, not held, or not said: GET it"
    RELAY = "not a success: the client gets upstream's own answer"


@dataclass(frozen=True, slots=True)
class Head:
    """What upstream's HEAD said: its status and ``Docker-Content-Digest`` where it was usable."""

    status: int
    digest: Digest | None


def ask(method: str, *, known: bool) -> Ask:
    """How to ask about a tag that a client requests by ``method``.

    ``known`` is whether this tag was seen before, with whatever ``Accept``.
    """
    return Ask.HEAD if method == "HEAD" or known else Ask.GET


def judge(head: Head, *, held: bool) -> Verdict:
    """What ``head`` means where ``held`` says whether its digest is in the cache, allowed."""
    if head.status != 200:
        return Verdict.RELAY
    return Verdict.SERVE if held and head.digest is not None else Verdict.FETCH


class Latest:
    """When the latest word on each tag was asked for. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._asked: BoundedMap[str, float] = BoundedMap(_MOST_TAGS)
        """By texts and numbers alone, which the garbage collector need not look into."""

    def is_news(self, repository: Repository, tag: str, asked: float) -> bool:
        """Whether nothing was heard yet that was asked for later; from now on this is the latest.

        A change that passed by here counts as heard when it was made.
        """
        key = f"{repository.origin} {repository.name} {tag}"
        if asked < self._asked.get(key, asked):
            return False
        self._asked.put(key, asked)
        return True

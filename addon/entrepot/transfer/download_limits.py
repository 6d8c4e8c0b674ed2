"""How many downloads run at once, in all and for each registry, and which makes way for another.

Each has a thread, a connection and two open files. A registry that drips, or one that many
clients ask for much, must leave some to the others: so the number is bounded, and where it is
reached, a download that hardly moves makes way, one that nobody waits for first. Where all move,
the next one is served without storing it.
"""

from collections.abc import Mapping

from entrepot.protocol.identifiers import Digest, Origin
from entrepot.transfer.download import Download

MOST = 256
MOST_OF_ORIGIN = 128


def make_way(downloads: Mapping[tuple[Origin, Digest], Download], origin: Origin) -> bool:
    """Whether one more of ``origin`` may begin; one that hardly moves may be ended for it."""
    there = {key: download for key, download in downloads.items() if not download.is_ending}
    own = {key: download for key, download in there.items() if key[0] == origin}
    for some, most in ((own, MOST_OF_ORIGIN), (there, MOST)):
        if len(some) < most:
            continue
        slow = slow_ones(some)
        if not slow:
            return False
        slow[0].give_way("it hardly moves, and others wait")
        if slow[0] in own.values():
            return True
    return True


def slow_ones(downloads: Mapping[tuple[Origin, Digest], Download]) -> list[Download]:
    """Those that hardly move, and were not asked to end; what nobody waits for first."""
    slow = [one for one in downloads.values() if one.is_slow() and not one.is_ending]
    return sorted(slow, key=lambda download: download.file.is_followed)

"""The digests that manifests list, kept so that no hit has to parse the manifest's JSON.

A manifest has up to 4 MiB, and lists up to 2,000 digests: to parse it takes tens of milliseconds,
to build the digests some more. So its row has them in short form, and those that were asked for
lately are in memory. A digest names its bytes, and so what these list, whatever registry they are
from.
"""

from collections import OrderedDict
from collections.abc import Callable

from entrepot.protocol.identifiers import Digest

Listed = frozenset[Digest]

_MOST_DIGESTS = 50_000
"""What is kept in memory: some 15 MB; 25 manifests of the largest, or 5,000 ordinary ones."""
_LEAST = 8
"""A manifest counts as so many digests at least: its entry takes memory too."""


def encode(listed: Listed) -> str:
    """Write for a row: hex digits, sorted, with spaces; their number tells the algorithm."""
    return " ".join(sorted(digest.hex for digest in listed))


def decode(text: str) -> Listed:
    """What :func:`encode` wrote; ValueError where it did not."""
    return frozenset(
        Digest("sha512" if len(digits) > 64 else "sha256", digits) for digits in text.split()
    )


class Lately:
    """What was asked for lately, by the manifest's digest."""

    def __init__(self, most: int = _MOST_DIGESTS) -> None:
        """``most`` digests are kept in all."""
        self._most = most
        self._kept: OrderedDict[Digest, Listed] = OrderedDict()
        self._count = 0

    def get(self, manifest: Digest, find: Callable[[], Listed]) -> Listed:
        """What a manifest lists; ``find`` is asked where that is not known here."""
        listed = self._kept.get(manifest)
        if listed is None:
            listed = self._kept[manifest] = find()
            self._count += _weight(listed)
            while self._count > self._most and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._count -= _weight(dropped)
        else:
            self._kept.move_to_end(manifest)
        return listed


def _weight(listed: Listed) -> int:
    return max(len(listed), _LEAST)

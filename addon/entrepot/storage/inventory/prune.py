"""Pruning: which images go by rule, as retention policies of registries have it.

An image goes where none of the rules that are given keeps it; a pinned one stays, and does not
count as one of the last. What a filter names by some of its tags only loses these tags alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from entrepot.protocol.identifiers import Repository, Tag
from entrepot.protocol.image_names import ImageName
from entrepot.storage.inventory.images import CachedImage
from entrepot.storage.inventory.removal import Choice, Removal


@dataclass(frozen=True, slots=True)
class PruneRules:
    """What stays. Times are seconds; at least one of the rules must be given."""

    keep_last: int | None = None
    """So many of each repository, those that were stored last."""
    older_than: float | None = None
    """What was stored within this time."""
    unused_for: float | None = None
    """What was used within this time."""

    def __post_init__(self) -> None:
        if self.keep_last is None and self.older_than is None and self.unused_for is None:
            raise ValueError("expected a rule: keep_last, older_than or unused_for")

    def goes(self, images: Iterable[CachedImage], now: float) -> Iterator[CachedImage]:
        """Those that no rule keeps, and that are not pinned; ``now`` is the time of day."""
        of_repository: dict[Repository, list[CachedImage]] = defaultdict(list)
        for image in images:
            if not image.pinned:
                of_repository[Repository(image.origin, image.repository)].append(image)
        for found in of_repository.values():
            found.sort(key=lambda image: (image.stored, image.used), reverse=True)
            for image in found[self.keep_last or 0 :]:
                if not self._is_recent(image, now):
                    yield image

    def _is_recent(self, image: CachedImage, now: float) -> bool:
        is_new = self.older_than is not None and now - image.stored < self.older_than
        is_used = self.unused_for is not None and now - image.used < self.unused_for
        return is_new or is_used

    def __str__(self) -> str:
        rules = (
            ("keep_last", self.keep_last),
            ("older_than", self.older_than),
            ("unused_for", self.unused_for),
        )
        return " ".join(f"{name}={value:g}" for name, value in rules if value is not None)


@dataclass(frozen=True, slots=True)
class Pruning:
    """What goes, and the pinned images that the rules alone would not have kept."""

    removal: Removal
    pinned: tuple[CachedImage, ...]


def chosen(images: Iterable[CachedImage], text: str) -> Choice:
    """Choose what a filter names of these images: all of each, or some of its tags."""
    choice = Choice()
    for image in images:
        whole = ImageName(image.registry, image.repository, image.digest)
        tags = [
            name
            for tag in image.tags
            if _matches(str(name := ImageName(image.registry, image.repository, Tag(tag))), text)
        ]
        for name in [whole] if _matches(str(whole), text) else tags:
            choice.add(name, [image])
    return choice


def _matches(name: str, text: str) -> bool:
    """Whether a filter names it, as ``Selection.filtered`` has it."""
    if "*" in text or "?" in text:
        return fnmatchcase(name, text.replace("[", "[[]"))
    return text in name

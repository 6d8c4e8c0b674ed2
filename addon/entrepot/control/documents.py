"""What the control socket and `-o json` say: inventories as JSON, the same in both.

Sizes are bytes, times are UTC after ISO 8601. `docs/images.md` describes each member.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeAlias

from entrepot.protocol.identifiers import Repository
from entrepot.protocol.image_names import registry_name
from entrepot.storage.inventory.images import (
    CachedImage,
    ImageObject,
    ImagePage,
    NextEvicted,
    RegistryTotals,
    Totals,
)
from entrepot.storage.inventory.pins import PinChange
from entrepot.storage.inventory.prune import Pruning
from entrepot.storage.inventory.removal import Removal

Document: TypeAlias = dict[str, Any]


def names_of(image: CachedImage) -> list[str]:
    """An image's names: with each of its tags, or with its digest where it has none."""
    repository = f"{image.registry}/{image.repository}"
    return [f"{repository}:{tag}" for tag in image.tags] or [f"{repository}@{image.digest}"]


def image(found: CachedImage) -> Document:
    """One image."""
    return {
        "registry": found.registry,
        "origin": str(found.origin),
        "repository": found.repository,
        "names": names_of(found),
        "tags": list(found.tags),
        "digest": str(found.digest),
        "media_type": found.media_type,
        "platforms": list(found.platforms),
        "size": found.size,
        "freed": found.freed,
        "stored": time_text(found.stored),
        "used": time_text(found.used),
        "complete": found.complete,
        "pinned": found.pinned,
    }


def image_with_objects(found: CachedImage, objects: tuple[ImageObject, ...]) -> Document:
    """One image and what it is made of."""
    return {**image(found), "objects": [_object(one) for one in objects]}


def _object(found: ImageObject) -> Document:
    return {
        "kind": found.kind,
        "digest": found.digest,
        "size": found.size,
        "used": time_text(found.used),
        "images": found.images,
    }


def totals(found: Totals) -> Document:
    """Sums of a selection."""
    return {"images": found.images, "size": found.size, "other": found.other}


def page(found: ImagePage, next_offset: int | None) -> Document:
    """A page of images; ``next_offset`` is where the next one begins, if there is one."""
    return {
        "images": [image(one) for one in found.images],
        "totals": totals(found.totals),
        "next_offset": next_offset,
    }


def registries(found: tuple[RegistryTotals, ...]) -> Document:
    """How much there is of each registry."""
    return {"registries": [asdict(one) for one in found]}


def next_evicted(found: tuple[NextEvicted, ...]) -> Document:
    """What is evicted next."""
    return {
        "objects": [
            {
                "kind": one.kind,
                "digest": one.digest,
                "size": one.size,
                "used": time_text(one.used),
                "image": one.image,
            }
            for one in found
        ]
    }


def removal(found: Removal, *, dry_run: bool) -> Document:
    """What was removed, or would be."""
    return {
        "removed": [name for one in found.images for name in names_of(one)],
        "untagged": sorted(_untagged(found)),
        "objects": len(found.keys),
        "freed": found.size,
        "dry_run": dry_run,
    }


def pruning(found: Pruning, *, dry_run: bool) -> Document:
    """What was removed by rule, or would be; ``pinned`` are the images that stay for that alone."""
    return {
        **removal(found.removal, dry_run=dry_run),
        "images": [image(one) for one in found.removal.images],
        "pinned": [name for one in found.pinned for name in names_of(one)],
    }


def pins(change: PinChange) -> Document:
    """What was pinned, or is no more; ``pinned`` are the bytes of all pins."""
    return {
        "names": [name for one in change.images for name in names_of(one)],
        "pinned": change.size,
    }


def _untagged(found: Removal) -> set[str]:
    whole = {name for one in found.images for name in names_of(one)}
    said = {f"{_repository(repository)}:{tag}" for repository, tag in found.tags}
    return said - whole


def _repository(repository: Repository) -> str:
    return f"{registry_name(repository.origin)}/{repository.name}"


def time_text(seconds: float) -> str:
    """A time of day as all documents say it."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):  # a damaged row
        return "1970-01-01T00:00:00Z"

"""What an inventory says: images, what they are made of, and sums."""

from dataclasses import dataclass
from enum import Enum

from entrepot.protocol.identifiers import Digest, Origin


class SortBy(Enum):
    """In which order images are listed."""

    NAME = "name"
    SIZE = "size"
    """The largest first."""
    USED = "used"
    """What was used latest first."""


@dataclass(frozen=True, slots=True)
class CachedImage:
    """One image. Sizes are bytes, times seconds since 1970."""

    number: int
    """Its row in the inventory that it is from."""
    origin: Origin
    registry: str
    """As image names have it: `docker.io`."""
    repository: str
    tags: tuple[str, ...]
    digest: Digest
    media_type: str
    platforms: tuple[str, ...]
    """Those that are here, as `linux/arm64/v8`."""
    size: int
    """All that it is made of, as far as it is here."""
    freed: int
    """What goes if it is removed: the rest is in other images too."""
    stored: float
    used: float
    """When its manifest was last asked for."""
    complete: bool
    """Whether all that it lists is here; of an index, of the platforms that are."""
    pinned: bool


@dataclass(frozen=True, slots=True)
class ImageObject:
    """A manifest or a blob of an image."""

    kind: str
    """`manifest` or `blob`."""
    digest: str
    size: int
    used: float
    images: int
    """How many images it is in."""


@dataclass(frozen=True, slots=True)
class NextEvicted:
    """An object that is evicted before all that were used later."""

    kind: str
    digest: str
    size: int
    used: float
    image: str
    """One of the images that it is in; empty where it is in none."""


@dataclass(frozen=True, slots=True)
class HeldObjects:
    """Some of the objects that are held, by the keys of their rows and in their order."""

    objects: tuple[tuple[str, int], ...]
    """Keys, and sizes in bytes."""
    count: int
    """How many there are in all."""
    size: int
    """Their bytes."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of all that is selected, each object counted once."""

    images: int
    size: int
    """The bytes of the objects of these images."""
    other: int
    """The bytes of objects that are in no image at all: what is left when a manifest is gone."""


@dataclass(frozen=True, slots=True)
class ImagePage:
    """Some of the images that are selected, and the sums of all."""

    images: tuple[CachedImage, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class RegistryTotals:
    """Sums of the images of one registry, each object counted once."""

    registry: str
    images: int
    size: int


class InventoryError(Exception):
    """What was asked of the inventory cannot be; ``code`` is the same for the same reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code

"""What the store gives to its callers, as plain values."""

from dataclasses import dataclass

from entrepot.manifest import listed_digests
from entrepot.reference import Digest


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A whole blob: an open file that its owner must close."""

    file: int
    size: int
    media_type: str
    stored: float
    linked: bool
    """Whether the asked repository is known to have it; else upstream must confirm that."""
    sound: bool
    """Whether its bytes were verified lately, and the file was not touched since."""


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A whole manifest, exactly as upstream sent it."""

    content: bytes
    media_type: str
    stored: float
    linked: bool

    def listed(self) -> frozenset[Digest]:
        """The digests that it lists."""
        return listed_digests(self.content)


@dataclass(frozen=True, slots=True)
class TagEntry:
    """What a tag last was."""

    digest: str
    checked: float


@dataclass(frozen=True, slots=True)
class HostEntry:
    """What is known of a host: whether it is a registry, and until when that counts."""

    registry: bool
    until: float

"""What the store gives to its callers, as plain values."""

from dataclasses import dataclass

from entrepot.protocol.identifiers import Digest


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
    digests: frozenset[Digest]
    """What it lists, as it was read once: its JSON may take a tenth of a second."""

    def listed(self) -> frozenset[Digest]:
        """The digests that it lists."""
        return self.digests


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

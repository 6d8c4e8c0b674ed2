"""Names of images, as docker and its users say them: `redis:7`, `ghcr.io/acme/app@sha256:…`.

What stands before the first slash is a registry where it has a dot or a colon, or is `localhost`;
else the name is one of Docker Hub's, whose official images are below `library/` (`quirks`). A name
without a tag or a digest is the whole repository here, and one that ends with a slash all
repositories below it: `ghcr.io/acme/`, or `ghcr.io/` for a whole registry.
Source: https://github.com/distribution/reference, "Grammar" and its normalisation.
"""

from dataclasses import dataclass
from typing import Self

from entrepot.protocol.identifiers import (
    Digest,
    HostPort,
    Origin,
    Reference,
    Tag,
    is_repository_name,
)
from entrepot.protocol.quirks import HUB_LIBRARY, HUB_NAME, configured_name, is_hub_name

_LOCAL = "localhost"


@dataclass(frozen=True, slots=True)
class ImageName:
    """Which images are meant.

    ``registry`` is `HOST[:PORT]`, as in image names. ``path`` is a repository's name; where it ends
    with a slash, or is empty, all that begin with it.
    """

    registry: str
    path: str
    reference: Reference | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name; ValueError for anything else."""
        name, at, digest = text.partition("@")
        name, colon, tag = _split_tag(name)
        registry, path = _split_registry(name)
        reference: Reference | None = Tag.parse(tag) if colon else None
        if at:
            reference = Digest.parse(digest)
        is_prefix = path == "" or path.endswith("/")
        if (
            (is_prefix and reference is not None)
            or not (path == "" or is_repository_name(path.removesuffix("/")))
            or (registry == HUB_NAME and path != path.lower())
        ):
            raise ValueError(
                f"expected an image: redis:7, HOST/NAME:TAG or HOST/NAME@DIGEST, got {text!r}"
            )
        return cls(registry, path, reference)

    @property
    def is_prefix(self) -> bool:
        """Whether it stands for all repositories that begin so."""
        return self.path == "" or self.path.endswith("/")

    def __str__(self) -> str:
        separator = "@" if isinstance(self.reference, Digest) else ":"
        end = "" if self.reference is None else f"{separator}{self.reference}"
        return f"{self.registry}/{self.path}{end}"


def registry_name(origin: Origin) -> str:
    """What a registry is called in the names of images: `docker.io`, `localhost:5000`."""
    return configured_name(origin)


def _split_tag(name: str) -> tuple[str, str, str]:
    """Name, colon and tag; the colon of a port stands before the last slash."""
    before, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    return f"{before}{slash}{last}", colon, tag


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == _LOCAL):
        registry = str(HostPort.parse(first))
        if not is_hub_name(registry):
            return registry, rest
        name = rest
    elif not name:
        raise ValueError(f"expected the name of an image, got {name!r}")
    official = name != "" and "/" not in name
    return HUB_NAME, f"{HUB_LIBRARY}/{name}" if official else name

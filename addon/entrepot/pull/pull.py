"""What a client asks for, where, and as whom: the subject of every decision about a pull."""

from dataclasses import dataclass

from entrepot.auth.credentials import Credential
from entrepot.protocol.headers import normalise_accept
from entrepot.protocol.identifiers import Digest, Origin, Repository, Tag
from entrepot.protocol.messages import Request

Key = tuple[Origin, Digest]
"""A blob of a registry, whichever of its repositories it is asked for in."""


@dataclass(frozen=True, slots=True)
class Pull:
    """A client's request for one blob or manifest, by its digest."""

    request: Request
    repository: Repository
    digest: Digest
    who: Credential

    @property
    def reference(self) -> Digest:
        """What is asked for, as it stands in the path."""
        return self.digest

    @property
    def key(self) -> Key:
        """What all clients share who ask this registry for this digest."""
        return (self.repository.origin, self.digest)


@dataclass(frozen=True, slots=True)
class TagPull:
    """A client's request for the manifest that a tag is now."""

    request: Request
    repository: Repository
    tag: Tag
    who: Credential

    @property
    def reference(self) -> Tag:
        """What is asked for, as it stands in the path."""
        return self.tag

    @property
    def accept(self) -> str:
        """The media types that the client takes, spelt one way: by them a registry chooses."""
        return normalise_accept(self.request.values("Accept"))

    def at(self, digest: Digest) -> Pull:
        """The same client's request for a manifest that the tag is, or was."""
        return Pull(self.request, self.repository, digest, self.who)

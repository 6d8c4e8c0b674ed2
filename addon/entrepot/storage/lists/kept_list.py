"""A list as a registry gave it, and what it was asked: plain values."""

import hashlib
from dataclasses import dataclass
from typing import Self

from entrepot.protocol.headers import normalise_accept
from entrepot.protocol.identifiers import Origin, Repository, Tag
from entrepot.protocol.messages import Fields, Request, field_values
from entrepot.protocol.routes import Catalog, ListEndpoint, Referrers

CATALOG = "_catalog"
"""Stands where a repository's name does; no repository is called so."""

_HEX = 40


@dataclass(frozen=True, slots=True)
class ListName:
    """Which list: that of exactly this path and query, since a page is only itself."""

    origin: Origin
    repository: Repository | None
    """None: of the registry itself."""
    which: str
    """A hash of what was asked: a query may hold a secret, and of any length."""

    @classmethod
    def of(cls, request: Request, endpoint: ListEndpoint) -> Self:
        """What a request asks for. By ``Accept`` registries choose for referrers alone."""
        chosen = isinstance(endpoint, Referrers)
        accept = normalise_accept(request.values("Accept")) if chosen else ""
        which = hashlib.sha256(f"{request.target}\n{accept}".encode("utf-8", "surrogatepass"))
        repository = (
            None if isinstance(endpoint, Catalog) else Repository(request.origin, endpoint.name)
        )
        return cls(request.origin, repository, which.hexdigest()[:_HEX])

    @classmethod
    def of_tag(cls, repository: Repository, tag: Tag, accept: str) -> Self:
        """What a tag holds that stands for a list, asked for by this normalised ``Accept``."""
        which = hashlib.sha256(f"{tag}\n{accept}".encode("utf-8", "surrogatepass"))
        return cls(repository.origin, repository, which.hexdigest()[:_HEX])

    @property
    def place(self) -> str:
        """The repository's name, or what stands for the registry itself."""
        return CATALOG if self.repository is None else self.repository.name


@dataclass(frozen=True, slots=True)
class ListHead:
    """What is known of a kept list without reading it."""

    status: int
    """200; or another, where clients act on that (``pull.lists.list_shape``)."""
    headers: Fields
    checked: float
    """When the registry was asked that last said so, as the time of day."""
    hash: str = ""
    """SHA-256 of the content."""

    @property
    def etag(self) -> str | None:
        """The registry's ``ETag``, where it gave one."""
        found = field_values(self.headers, "ETag")
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class KeptList:
    """A list, exactly as it was sent."""

    head: ListHead
    content: bytes

    @classmethod
    def of(cls, status: int, headers: Fields, content: bytes, checked: float) -> Self:
        """A list that just came."""
        return cls(ListHead(status, headers, checked, hashlib.sha256(content).hexdigest()), content)

    @property
    def is_sound(self) -> bool:
        """Whether the bytes are still those that came."""
        return hashlib.sha256(self.content).hexdigest() == self.head.hash

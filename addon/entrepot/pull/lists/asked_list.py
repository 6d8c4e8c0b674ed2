"""What a client asks for, where, and as whom, where that is a list."""

from dataclasses import dataclass
from typing import Self

from entrepot.auth.credentials import Credential
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import Request
from entrepot.protocol.routes import Catalog, ListEndpoint, Referrers
from entrepot.storage.lists.kept_list import ListName


@dataclass(frozen=True, slots=True)
class AskedList:
    """A client's request for a list."""

    request: Request
    endpoint: ListEndpoint
    who: Credential
    name: ListName

    @classmethod
    def of(cls, request: Request, endpoint: ListEndpoint, who: Credential) -> Self:
        """Name what is asked for."""
        return cls(request, endpoint, who, ListName.of(request, endpoint))

    @property
    def scope(self) -> str:
        """Who asks about which repository: one word of the registry to them counts for it all."""
        return f"{self.name.origin} {self.name.place} {self.who.heard_as}"

    @property
    def key(self) -> str:
        """Who asks for which list."""
        return f"{self.scope} {self.name.which}"

    @property
    def object(self) -> Digest:
        """Stands for this list, as this client is told it, among what clients are allowed."""
        return Digest.of(self.key.encode())

    @property
    def words(self) -> str:
        """What it is, for people."""
        match self.endpoint:
            case Catalog():
                return "list of repositories"
            case Referrers():
                return "list of referrers"
            case _:
                return "list of tags"

"""A request to the proxy itself, for one of its own pages, whichever way it came."""

from dataclasses import dataclass

from entrepot.protocol.messages import Fields


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What is asked of the proxy itself; ``target`` is as in a request line."""

    method: str
    target: str
    headers: Fields = ()
    content: bytes = b""
    client: str = ""
    proxy_port: int | None = None
    """The proxy's port, where it was asked at another (a mirror's)."""

    @property
    def path(self) -> str:
        """The path alone, as it was spelt."""
        return self.target.partition("?")[0]

    def value(self, name: str) -> str:
        """A header field, given in lower case, as one value; empty where it is absent."""
        return ", ".join(value for known, value in self.headers if known.lower() == name)

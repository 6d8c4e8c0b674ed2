"""The address of the cache, as a client knows it: what its ``Host`` names, and nothing else.

It is written into scripts that run as root. So it is read by the grammar of host names and
addresses (``protocol.identifiers``), in which there is no character that a shell, YAML, TOML or a
URL would take for more than text; whatever else a client sends is no address.
"""

from dataclasses import dataclass
from typing import Self

from entrepot.protocol.identifiers import HostPort, bracketed

_HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class CacheAddress:
    """Where the proxy listens, as seen by a client: a host in its one spelling, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, host: str, port: int | None = None) -> Self:
        """Read a ``Host`` field (RFC 9110 section 7.2); ``port`` is said otherwise, where given.

        Raises ValueError for what is no host, or no host and port.
        """
        named = HostPort.parse(host)
        return cls(named.host, port or named.port or _HTTP_PORT)

    @property
    def url(self) -> str:
        """The proxy as the variables for proxies name it, always with its port."""
        return f"http://{self}"

    def at(self, port: int) -> "CacheAddress":
        """Another port of the same host."""
        return CacheAddress(self.host, port)

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

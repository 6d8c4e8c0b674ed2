"""Networks of clients, as an administrator names them, and what is kept of their addresses."""

import contextlib
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network


def parse_network(text: str) -> Network:
    """Read an address or a CIDR block; the ValueError names the network that may be meant."""
    with contextlib.suppress(ValueError):
        return ip_network(text)
    message = f"expected an address or a network such as 10.0.0.0/8, got {text!r}"
    with contextlib.suppress(ValueError):  # an address in it, where its own is wanted
        message += f", did you mean '{ip_network(text, strict=False)}'?"
    raise ValueError(message)


def is_in(client: str, networks: Iterable[Network]) -> bool:
    """Whether a client's address is in one of ``networks``; an address that is none is in none.

    An IPv4 address that came to an IPv6 socket (``::ffff:10.0.0.1``) counts as what it is.
    """
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in network for network in networks)


class Recorded(Enum):
    """What is recorded of clients; the values are those of ``--record``."""

    CLIENTS = "clients"
    """Whole addresses."""
    NETWORKS = "networks"
    """The network of each: /24 of IPv4, /64 of IPv6."""
    NONE = "none"
    """No request is recorded at all."""

    @classmethod
    def parse(cls, text: str) -> "Recorded":
        """Read the value of the option."""
        try:
            return cls(text)
        except ValueError:
            raise ValueError(f"expected clients, networks or none, got {text!r}") from None

    def shown(self, client: str) -> str:
        """What is kept of a client's address."""
        match self:
            case Recorded.CLIENTS:
                return client
            case Recorded.NETWORKS:
                return _network_of(client)
            case Recorded.NONE:
                return ""


@lru_cache(maxsize=4096)
def _network_of(client: str) -> str:
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    length = 64 if isinstance(address, IPv6Address) else 24
    return str(ip_network((address, length), strict=False))

"""Networks of clients, as an administrator names them."""

import contextlib
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
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

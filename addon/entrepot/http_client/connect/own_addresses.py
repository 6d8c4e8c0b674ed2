"""Which addresses are this machine's, and on which of them this proxy listens.

A request that it sent to itself would go round for ever; one to this machine's own addresses would
reach what only its own programs may.
"""

import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from entrepot.config.addresses import Listen, UpstreamProxy
from entrepot.config.mirror_spec import Mirror
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.network_reach import IPAddress, literal

_LOOPBACK = {4: literal("127.0.0.1"), 6: literal("::1")}


def is_itself(server: UpstreamProxy | Origin, listen: Listen | Mirror) -> bool:
    """Whether a server is the one that listens here; False where its name does not resolve."""
    if server.port != listen.port:
        return False
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    addresses = (literal(str(address[0])) for _, _, _, _, address in found)
    return any(address is not None and is_own(address) for address in addresses)


def is_own(address: IPAddress) -> bool:
    """Whether this machine has an address, loopback included: nobody else can bind to it."""
    if not _can_bind(address):
        return False
    with suppress(OSError):
        if _nonlocal(address).read_text().strip() != "0":
            return _speaks_from(address)
    return True


def _can_bind(address: IPAddress) -> bool:
    with socket.socket(_family(address), socket.SOCK_STREAM) as tried:
        try:
            tried.bind((str(address), 0))
        except OSError:
            return False
    return True


def _nonlocal(address: IPAddress) -> Path:
    """Where the kernel says whether any address can be bound to, as balancers have it."""
    return Path(f"/proc/sys/net/ipv{address.version}/ip_nonlocal_bind")


def _speaks_from(address: IPAddress) -> bool:
    """Whether the kernel would speak to an address from that address; no packet is sent."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as tried:
        try:
            tried.connect((str(address), 9))
        except OSError:
            return False
        return literal(str(tried.getsockname()[0])) == address


def _family(address: IPAddress) -> socket.AddressFamily:
    return socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6


class Listeners:
    """The addresses and ports on which this process accepts clients."""

    def __init__(self, places: Iterable[tuple[str, int]] = ()) -> None:
        """``places``: a host ("" for every address) and a port each."""
        self.places = frozenset((literal(host) if host else None, port) for host, port in places)

    def have(self, address: IPAddress, port: int) -> bool:
        """Whether a connection to this address would come back here."""
        if address.is_unspecified:
            address = _LOOPBACK[address.version] or address
        listening = [place for place, own_port in self.places if own_port == port]
        if address in listening:
            return True
        everywhere = any(place is None or place.is_unspecified for place in listening)
        return everywhere and (address.is_loopback or is_own(address))

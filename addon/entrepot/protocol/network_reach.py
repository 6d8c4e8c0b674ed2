"""How far a connection may lead, by who named the place: the rules against SSRF.

Whoever names an address makes this machine connect to it, with what this machine's own address
opens: services on its loopback, a cloud's metadata, a private network. So what counts is who
named it, and the scope of the address to which the name resolved, never its spelling:

- the administrator, or a client on this machine: anything (:attr:`Reach.ANYWHERE`);
- a client elsewhere: what its own address could reach too, so no loopback or link-local address
  of this machine (:attr:`Reach.CLIENT`);
- somebody else (a ``Location``, a token realm, the ``?ns=`` of a mirror's client): nothing of this
  machine's either, and private networks only where the one who named it is in them
  (:attr:`Reach.NEAR`, else :attr:`Reach.FAR`).

Where this process listens nobody is led at all (see ``http_client.connect.ssrf_guard``).
"""

import contextlib
import socket
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address

_METADATA = frozenset(
    map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16"))
)
"""Where clouds (AWS, Google, Alibaba, Azure) tell a machine its credentials, besides 169.254/16."""
_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 by a translator (NAT64, RFC 6052)."""


class Scope(Enum):
    """What kind of address it is; the value is said to who is refused."""

    LOOPBACK = "a loopback address"
    LINK = "a link-local address or a metadata service"
    OWN = "an address of the proxy's own machine"
    SPECIAL = "no address of one host"
    PRIVATE = "a private address"
    GLOBAL = "a public address"


class Reach(Enum):
    """To which scopes a connection is made, on whose word."""

    ANYWHERE = auto()
    CLIENT = auto()
    NEAR = auto()
    FAR = auto()

    def refusal(self, scope: Scope) -> str | None:
        """Why an address of this scope is not connected to; None where it is."""
        return f"it is {scope.value}" if scope in _REFUSED[self] else None


_OURS = frozenset({Scope.LOOPBACK, Scope.LINK})
_REFUSED = {
    Reach.ANYWHERE: frozenset[Scope](),
    Reach.CLIENT: _OURS,
    Reach.NEAR: _OURS | {Scope.OWN, Scope.SPECIAL},
    Reach.FAR: frozenset(Scope) - {Scope.GLOBAL},
}


def literal(host: str) -> IPAddress | None:
    """The address that a host is, in whatever spelling a resolver takes; None for a name.

    Besides the usual ones these are ``127.1``, ``2130706433`` and ``0x7f000001`` (inet_aton). An
    IPv4 address that is written as one of IPv6 counts as what it is.
    """
    text = host.partition("%")[0].rstrip(".")
    with contextlib.suppress(ValueError):
        return _unwrapped(ip_address(text))
    if text[:1].isdigit() and "_" not in text and text.isascii():
        with contextlib.suppress(OSError):
            return IPv4Address(socket.inet_aton(text))
    return None


def _unwrapped(address: IPAddress) -> IPAddress:
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def scope_of(address: IPAddress) -> Scope:
    """The scope of an address, as far as it says so itself: a machine's own do not.

    The unspecified address is loopback: that is where a connection to it leads.
    """
    if address.is_loopback or address.is_unspecified:
        return Scope.LOOPBACK
    if address.is_link_local or address in _METADATA:
        return Scope.LINK
    if address.is_multicast or address.is_reserved:
        return Scope.SPECIAL
    return Scope.GLOBAL if address.is_global else Scope.PRIVATE


def names_this_machine(host: str) -> bool:
    """Whether a name is one that always leads to the loopback address (RFC 6761 section 6.3)."""
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")

"""NO_PROXY: which hosts are reached past the corporate proxy upstream, and its grammar.

As Go's programs read it, docker and containerd among them (``golang.org/x/net/http/httpproxy``);
curl differs where a name begins with a dot, which for curl stands for the name itself too.

    *                             every host
    example.com                   the host, and every name below it
    .example.com, *.example.com   the names below it only
    10.1.2.3, 2001:db8::1         an address
    10.0.0.0/8, fd00::/8          a network; it holds no names, since none is resolved for it
    example.com:5000, [::1]:5000  the same on this port only

This machine itself (``localhost``, 127.0.0.0/8, ::1) is never looked for behind another proxy.
"""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from entrepot.protocol.identifiers import HostPort, bracketed, is_ip_address, parse_host

_BELOW = re.compile(r"\*?\.(?=[^.])")
_SEPARATORS = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class NoProxyEntry:
    """One entry: a network, or a domain; neither stands for every host."""

    network: IPv4Network | IPv6Network | None = None
    domain: str | None = None
    below_only: bool = False
    """Whether the domain itself does not count."""
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one entry; ValueError for anything else."""
        if text == "*":
            return cls()
        if "%" not in text:  # a zone means something to one machine only
            with contextlib.suppress(ValueError):
                return cls(network=ip_network(text, strict=False))
        with contextlib.suppress(ValueError):
            name = _BELOW.sub("", text, count=1) if _BELOW.match(text) else text
            where = HostPort.parse(name)
            if not is_ip_address(where.host):
                return cls(domain=where.host, below_only=name != text, port=where.port)
            if name == text:
                return cls(network=ip_network(where.host), port=where.port)
        raise ValueError(
            "expected *, a host, .domain, an address or a network such as 10.0.0.0/8, perhaps "
            f"with :PORT, got {text!r}"
        )

    def covers(self, host: str, port: int) -> bool:
        """Whether a host (as ``parse_host`` returns it) is one of these."""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            address = _address(host)
            return address is not None and address in self.network
        if self.domain is None:
            return True
        return host.endswith(f".{self.domain}") or (host == self.domain and not self.below_only)

    def __str__(self) -> str:
        """As ``parse`` reads it."""
        what, bare = "*" if self.domain is None else self.domain, False
        if self.network is not None:
            bare = self.network.num_addresses == 1
            what = str(self.network.network_address if bare else self.network)
        if self.below_only:
            what = f".{what}"
        return what if self.port is None else f"{bracketed(what) if bare else what}:{self.port}"


def parse_no_proxy(text: str) -> tuple[NoProxyEntry, ...]:
    """Read the environment's list; what is no entry is left out, as other programs do."""
    found = []
    for entry in filter(None, _SEPARATORS.split(text)):
        with contextlib.suppress(ValueError):
            found.append(NoProxyEntry.parse(entry))
    return tuple(found)


def is_direct(entries: Iterable[NoProxyEntry], host: str, port: int) -> bool:
    """Whether a host, in any spelling, is reached without the upstream proxy."""
    with contextlib.suppress(ValueError):
        host = parse_host(host)
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(one.covers(host, port) for one in entries)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address

"""The names an authority may sign for: X.509 name constraints, RFC 5280 section 4.2.1.10.

A constraint counts for its own type of name only: a root that permits ``example.com`` and says no
more may still sign for every IP address. So a constrained root of ours speaks of both types:

- each family of IP addresses of which none is permitted is excluded whole;
- an IPv4 address is permitted as a DNS name too, because OpenSSL holds a leaf's common name against
  the DNS constraints where the leaf has no DNS name, and mitmproxy writes the address there;
- where no DNS name is permitted, ``invalid`` (RFC 6761 section 6.4: never exists) stands for none.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from cryptography import x509

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_EVERY_ADDRESS: tuple[Network, ...] = (
    ipaddress.IPv4Network("0.0.0.0/0"),
    ipaddress.IPv6Network("::/0"),
)
_NO_NAME = "invalid"
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label is not a number, or a mistyped address would pass as a name (RFC 3696 section 2).
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}\Z")


@dataclass(frozen=True, slots=True)
class Constraints:
    """Permitted and excluded subtrees of DNS names and IP addresses; all empty = unconstrained."""

    names: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    excluded_names: tuple[str, ...] = ()
    excluded_networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, permit: Iterable[str]) -> Self:
        """Permit these DNS names (their sub-domains with them) and IP addresses, and nothing else.

        Nothing in `permit` means no constraint. Raises ValueError for what is neither.
        """
        items = [_name_or_address(text) for text in permit]
        if not items:
            return cls()
        addresses = [item for item in items if not isinstance(item, str)]
        names = {item if isinstance(item, str) else str(item) for item in items}
        networks = {ipaddress.ip_network(address) for address in addresses}
        versions = {network.version for network in networks}
        return cls(
            names=tuple(sorted(name for name in names if ":" not in name)) or (_NO_NAME,),
            networks=tuple(sorted(networks, key=str)),
            excluded_networks=tuple(n for n in _EVERY_ADDRESS if n.version not in versions),
        )

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """Read the constraints of a certificate, whoever made it."""
        try:
            found = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            return cls()
        names, networks = _split(found.permitted_subtrees)
        excluded_names, excluded_networks = _split(found.excluded_subtrees)
        return cls(names, networks, excluded_names, excluded_networks)

    @property
    def permitted(self) -> tuple[str, ...]:
        """What was asked for when the root was made: DNS names, then addresses; empty = any."""
        networks = tuple(
            str(n.network_address) if n.prefixlen == n.max_prefixlen else str(n)
            for n in self.networks
        )
        names = tuple(n for n in self.names if n != _NO_NAME and n not in networks)
        return names + networks

    def permits(self, host: str) -> bool:
        """Whether clients accept a certificate for `host`: a DNS name or a bare IP address."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            name = host.lower().rstrip(".")
            return _permitted(
                [_within(name, base) for base in self.names],
                [_within(name, base) for base in self.excluded_names],
            )
        return _permitted(
            [address in network for network in self.networks],
            [address in network for network in self.excluded_networks],
        )

    def extension(self) -> x509.NameConstraints:
        """Build the nameConstraints extension of a root that has constraints.

        Without any it must be left out: RFC 5280 forbids an empty one.
        """
        return x509.NameConstraints(
            _join(self.names, self.networks), _join((), self.excluded_networks)
        )


def _permitted(permitted: list[bool], excluded: list[bool]) -> bool:
    """Whether a permitted subtree has the name, if there is any, and no excluded one has it."""
    return (not permitted or any(permitted)) and not any(excluded)


def _within(name: str, base: str) -> bool:
    """Tell whether `base` covers `name`; with a leading dot (OpenSSL, Go) only what is below it."""
    if not base or base.startswith("."):
        return name.endswith(base)
    return name == base or name.endswith("." + base)


def _name_or_address(text: str) -> str | Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        name = text.lower()
    if _NAME.match(name) is None:
        raise ValueError(
            f"permit: got {text!r}, want a DNS name such as 'example.com', which includes its "
            "sub-domains, or an IP address"
        )
    return name


def _split(subtrees: list[x509.GeneralName] | None) -> tuple[tuple[str, ...], tuple[Network, ...]]:
    """Read DNS names and networks from subtrees; other types of name do not concern TLS servers."""
    names = [item.value.lower() for item in subtrees or () if isinstance(item, x509.DNSName)]
    values = [item.value for item in subtrees or () if isinstance(item, x509.IPAddress)]
    networks = [v for v in values if isinstance(v, ipaddress.IPv4Network | ipaddress.IPv6Network)]
    return tuple(names), tuple(networks)


def _join(names: Iterable[str], networks: Iterable[Network]) -> list[x509.GeneralName] | None:
    """Build subtrees; None for no subtree, since the extension must not have an empty list."""
    subtrees: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    subtrees += [x509.IPAddress(network) for network in networks]
    return subtrees or None

"""Who may read the page: clients on this machine and in private networks, or those that are named.

Of them only those that ``--allow-client`` lets use the proxy at all, and this machine itself.
"""

from collections.abc import Sequence

from entrepot.config.networks import Network, is_in, parse_network

_PRIVATE = tuple(
    parse_network(text)
    for text in (
        "127.0.0.0/8",
        "::1/128",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
        "fe80::/10",
    )
)
"""RFC 6890: loopback, private use, link-local, shared address space, unique local."""


class Readers:
    """Clients that may read."""

    def __init__(self, allowed: Sequence[Network], served: Sequence[Network] = ()) -> None:
        """``allowed`` are the networks of ``--admin-allow``; none stands for the private ones.

        ``served`` are those of ``--allow-client``; none stands for all.
        """
        self._networks = tuple(allowed) or _PRIVATE
        self._served = (*served, *_PRIVATE[:2]) if served else ()

    def include(self, client: str) -> bool:
        """Whether a client's address is in one of the networks."""
        address = client.partition("%")[0]
        if self._served and not is_in(address, self._served):
            return False
        return is_in(address, self._networks)

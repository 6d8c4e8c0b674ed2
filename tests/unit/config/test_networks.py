"""What is kept of clients' addresses."""

import pytest

from entrepot.config.networks import Recorded


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("10.1.2.3", "10.1.2.0/24"),
        ("::ffff:10.1.2.3", "10.1.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", ""),
        ("", ""),
    ],
)
def test_an_address_is_cut_to_its_network(client: str, network: str) -> None:
    """Who was in a network can no more be told."""
    assert Recorded.NETWORKS.shown(client) == network
    assert Recorded.CLIENTS.shown(client) == client
    assert Recorded.NONE.shown(client) == ""


@pytest.mark.parametrize("text", ["", "all", "Clients"])
def test_no_other_is_known(text: str) -> None:
    with pytest.raises(ValueError, match="expected clients, networks or none"):
        Recorded.parse(text)

"""Networks of clients: how they are written, what is said of those that are not, what is kept."""

import pytest

from entrepot.config.networks import Recorded, is_in, parse_network


@pytest.mark.parametrize(
    "text", ["10.0.0.0/8", "10.1.0.5", "fd00::/8", "::1", "10.0.0.0/255.0.0.0"]
)
def test_a_network_is_read(text: str) -> None:
    assert parse_network(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10.1.0.5/16", "10.1.0.0/16"),
        ("192.168.1.1/255.255.255.0", "192.168.1.0/24"),
        ("fd00::1/8", "fd00::/8"),
        ("10.1.0.5/33", None),
        ("10.1.0", None),
        ("office", None),
        ("", None),
    ],
)
def test_what_is_meant_is_named(text: str, meant: str | None) -> None:
    """Where only the bits of a host are too many, the network that it is in."""
    with pytest.raises(ValueError, match="expected an address or a network") as caught:
        parse_network(text)
    hint = "" if meant is None else f", did you mean '{meant}'?"
    assert str(caught.value).endswith(f"got {text!r}{hint}")


def test_an_address_in_a_socket_of_ipv6_counts_as_what_it_is() -> None:
    assert is_in("::ffff:10.1.2.3", [parse_network("10.0.0.0/8")])
    assert not is_in("nowhere", [parse_network("0.0.0.0/0")])


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

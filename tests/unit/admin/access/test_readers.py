"""Who may read by the address."""

import pytest

from entrepot.admin.access.readers import Readers
from entrepot.config.networks import parse_network


@pytest.mark.parametrize(
    ("client", "may"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:10.0.0.1", True),
        ("192.168.7.9", True),
        ("100.64.0.9", True),
        ("fe80::1%eth0", True),
        ("fd00::9", True),
        ("203.0.113.9", False),
        ("2001:db8::1", False),
        ("", False),
        ("nobody", False),
    ],
)
def test_private_clients_by_default(client: str, *, may: bool) -> None:
    """Loopback and private addresses, and no others."""
    assert Readers(()).include(client) is may


def test_who_may_not_use_the_proxy_may_not_read() -> None:
    """But for this machine, whose administrator looks at --admin."""
    readers = Readers((), [parse_network("10.1.0.0/16")])
    assert readers.include("10.1.2.3")
    assert readers.include("127.0.0.1")
    assert not readers.include("10.2.0.1")


def test_named_networks_stand_for_themselves() -> None:
    """With --admin-allow nobody else may, not even this machine."""
    readers = Readers([parse_network("203.0.113.0/24")])
    assert readers.include("203.0.113.9")
    assert not readers.include("127.0.0.1")

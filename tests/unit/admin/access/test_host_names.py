"""Which names are the proxy's: what a browser may have asked for."""

import socket

import pytest

from entrepot.admin.access.host_names import HostNames

NAMES = HostNames(["cache.corp.example"])


@pytest.mark.parametrize(
    "authority",
    [
        "127.0.0.1:3128",
        "10.1.2.3",
        "[::1]:3128",
        "[fd00::1]",
        "localhost:3128",
        "LOCALHOST",
        "cache.corp.example",
        "Cache.Corp.Example.:3128",
    ],
)
def test_ours(authority: str) -> None:
    """Addresses, localhost, and what the administrator named, in any spelling."""
    assert NAMES.include(authority)


@pytest.mark.parametrize(
    "authority",
    [
        "attacker.example",
        "localhost.attacker.example",
        "cache.corp.example.attacker.example:3128",
        "127.0.0.1.attacker.example",
        "127.1",
        "0x7f000001",
        "",
        ":3128",
        "localhost:http",
        "user@localhost",
        "localhost, attacker.example",
        "[::1",
    ],
)
def test_not_ours(authority: str) -> None:
    """Any other name could resolve to this machine by an attacker's DNS."""
    assert not NAMES.include(authority)


def test_the_machines_own_name_is_learnt() -> None:
    """As people type it who know the machine."""
    names = HostNames([])
    names.learn_own().join()
    assert names.include(f"{socket.gethostname()}:3128")

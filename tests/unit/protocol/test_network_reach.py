"""What an address is of, in whatever spelling, and how far whose word leads."""

from ipaddress import ip_address

import pytest

from entrepot.protocol.network_reach import Reach, Scope, literal, names_this_machine, scope_of


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("10.0.0.5.", "10.0.0.5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("64:ff9b::a00:5", "10.0.0.5"),
        ("2002:a00:5::1", "10.0.0.5"),
        ("fe80::1%eth0", "fe80::1"),
        ("registry.example.com", None),
        ("3com.example.com", None),
        ("", None),
        ("256.1.1.1", None),
    ],
)
def test_an_address_is_known_in_every_spelling(text: str, address: str | None) -> None:
    assert literal(text) == (None if address is None else ip_address(address))


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("127.9.9.9", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("0.0.0.0", Scope.LOOPBACK),  # noqa: S104 - nobody listens
        ("::", Scope.LOOPBACK),
        ("169.254.169.254", Scope.LINK),
        ("fe80::1", Scope.LINK),
        ("fd00:ec2::254", Scope.LINK),
        ("100.100.100.200", Scope.LINK),
        ("224.0.0.1", Scope.SPECIAL),
        ("255.255.255.255", Scope.SPECIAL),
        ("10.0.0.5", Scope.PRIVATE),
        ("172.16.0.1", Scope.PRIVATE),
        ("192.168.0.1", Scope.PRIVATE),
        ("100.64.0.1", Scope.PRIVATE),
        ("fd00::1", Scope.PRIVATE),
        ("9.9.9.9", Scope.GLOBAL),
        ("2620:fe::fe", Scope.GLOBAL),
    ],
)
def test_an_address_has_a_scope(text: str, scope: Scope) -> None:
    assert scope_of(ip_address(text)) is scope


def test_how_far_each_word_leads() -> None:
    """From the administrator's, which leads anywhere, to that of a server far away."""
    allowed = {reach: {s.name for s in Scope if reach.refusal(s) is None} for reach in Reach}
    assert allowed == {
        Reach.ANYWHERE: {"LOOPBACK", "LINK", "OWN", "SPECIAL", "PRIVATE", "GLOBAL"},
        Reach.CLIENT: {"OWN", "SPECIAL", "PRIVATE", "GLOBAL"},
        Reach.NEAR: {"PRIVATE", "GLOBAL"},
        Reach.FAR: {"GLOBAL"},
    }


@pytest.mark.parametrize(
    ("host", "is_one"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("x.localhost", True),
        ("localhost.example.com", False),
        ("notlocalhost", False),
    ],
)
def test_some_names_are_always_this_machine(host: str, is_one: bool) -> None:  # noqa: FBT001
    assert names_this_machine(host) is is_one

"""Which addresses are this machine's."""

from ipaddress import ip_address

from entrepot.http_client.connect.own_addresses import is_own

ELSEWHERE = "10.1.2.3"
"""Nobody has this address here."""


def test_what_this_machine_has_for_an_address() -> None:
    assert is_own(ip_address("127.0.0.3"))
    assert not is_own(ip_address(ELSEWHERE))

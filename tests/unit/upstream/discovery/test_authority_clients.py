"""What is known of clients in a rotation: who may not be ready, and by whom to sign for it."""

import pytest

from entrepot.upstream.discovery.authority_clients import (
    LATELY_SECONDS,
    MOST_REMEMBERED,
    AuthorityClients,
)
from entrepot.upstream.discovery.tls_fingerprint import UNKNOWN, Fingerprint

NOW = 1e9
HOUR = 3600.0
ANNOUNCED = NOW - 24 * HOUR
ADDRESS = "192.0.2.1"
OTHER = Fingerprint("0123456789ab", "Go")


@pytest.mark.parametrize(
    ("seen", "fetched", "successor", "is_lately", "is_ready"),
    [
        (NOW - HOUR, None, None, True, False),
        (NOW - HOUR, ANNOUNCED - 1, None, True, False),  # what it fetched is the old one alone
        (NOW - HOUR, ANNOUNCED + 1, None, True, True),
        (NOW - HOUR, None, NOW - HOUR, True, True),  # it has shown so
        (NOW - HOUR, None, ANNOUNCED - HOUR, True, False),  # that was another's successor
        (ANNOUNCED - HOUR, None, None, True, False),  # seen before, and within a week
        (NOW - LATELY_SECONDS - 1, None, None, False, False),
    ],
)
def test_who_may_not_be_ready(
    seen: float,
    fetched: float | None,
    successor: float | None,
    *,
    is_lately: bool,
    is_ready: bool,
) -> None:
    """By what was seen of an address; whom nobody waits for has the old authority all the same."""
    clients = AuthorityClients()
    clients.restore({ADDRESS: (seen, fetched, successor)})
    waiting, lately = clients.waiting(ANNOUNCED, NOW)
    assert [one.address for one in waiting] == ([ADDRESS] if is_lately and not is_ready else [])
    assert lately == is_lately
    assert clients.needs_predecessor(ADDRESS, UNKNOWN, ANNOUNCED) is not is_ready


def test_of_whom_nothing_is_known() -> None:
    """The successor signs for it."""
    clients = AuthorityClients()
    assert not clients.needs_predecessor(ADDRESS, UNKNOWN, ANNOUNCED)
    clients.fetched(ADDRESS, ANNOUNCED - 1)
    assert not clients.needs_predecessor(ADDRESS, UNKNOWN, ANNOUNCED)


def test_who_refuses_one_gets_the_other() -> None:
    """That client, not others at its address; who refuses both trusts neither."""
    clients = AuthorityClients()
    clients.trusted(ADDRESS, NOW, successor=True)
    assert clients.refused(ADDRESS, UNKNOWN, predecessor=False)
    assert clients.needs_predecessor(ADDRESS, UNKNOWN, ANNOUNCED)
    assert clients.refused(ADDRESS, UNKNOWN, predecessor=False)  # its handshake had begun before
    assert not clients.needs_predecessor(ADDRESS, OTHER, ANNOUNCED)
    assert not clients.refused(ADDRESS, UNKNOWN, predecessor=True)
    assert not clients.needs_predecessor(ADDRESS, UNKNOWN, ANNOUNCED)


def test_who_refuses_the_predecessor_gets_the_successor() -> None:
    """As one that was installed since, at the address of one before."""
    clients = AuthorityClients()
    clients.trusted(ADDRESS, NOW)
    assert clients.needs_predecessor(ADDRESS, UNKNOWN, ANNOUNCED)
    assert clients.refused(ADDRESS, UNKNOWN, predecessor=True)
    assert not clients.needs_predecessor(ADDRESS, UNKNOWN, ANNOUNCED)


def test_who_fetches_is_tried_again() -> None:
    """What it refused before does not count any more; nor does it in another rotation."""
    clients = AuthorityClients()
    clients.refused(ADDRESS, UNKNOWN, predecessor=False)
    clients.fetched(ADDRESS, NOW)
    assert not clients.needs_predecessor(ADDRESS, UNKNOWN, ANNOUNCED)
    clients.refused(ADDRESS, UNKNOWN, predecessor=False)
    clients.forget_refusals()
    assert not clients.needs_predecessor(ADDRESS, UNKNOWN, ANNOUNCED)


def test_the_latest_comes_first() -> None:
    """Of all that were seen lately."""
    clients = AuthorityClients()
    for number in range(1, 4):
        clients.trusted(f"192.0.2.{number}", NOW - number * HOUR)
    clients.trusted("192.0.2.3", NOW - 10 * HOUR)  # a later word about earlier
    clients.fetched("192.0.2.2", NOW)
    waiting, lately = clients.waiting(ANNOUNCED, NOW)
    assert [one.address for one in waiting] == ["192.0.2.1", "192.0.2.3"]
    assert lately == 3


def test_who_only_fetches_is_not_waited_for() -> None:
    """It was not seen to pull."""
    clients = AuthorityClients()
    clients.fetched(ADDRESS, ANNOUNCED - 1)
    assert clients.waiting(ANNOUNCED, NOW) == ([], 0)
    assert clients.rows() == {}


def test_what_is_kept_comes_back() -> None:
    """And what is known already is not overwritten by it."""
    clients = AuthorityClients()
    clients.trusted("192.0.2.1", NOW, successor=True)
    clients.fetched("192.0.2.1", NOW - HOUR)
    clients.trusted("192.0.2.2", NOW)
    again = AuthorityClients()
    again.trusted("192.0.2.2", NOW + HOUR)
    again.restore(clients.rows())
    assert again.rows() == {
        "192.0.2.1": (NOW, NOW - HOUR, NOW),
        "192.0.2.2": (NOW + HOUR, None, None),
    }


def test_it_is_bounded() -> None:
    """Those who were seen longest ago are forgotten."""
    clients = AuthorityClients()
    for number in range(MOST_REMEMBERED + 2):
        clients.trusted(str(number), NOW)
    rows = clients.rows()
    assert len(rows) == MOST_REMEMBERED
    assert "1" not in rows

"""What is known of clients in a rotation: who was seen, who fetched, who may not be ready."""

import pytest

from entrepot.upstream.discovery.authority_clients import (
    LATELY_SECONDS,
    MOST_REMEMBERED,
    AuthorityClients,
)

NOW = 1e9
HOUR = 3600.0
ANNOUNCED = NOW - 24 * HOUR
SWITCHED = NOW - 2 * HOUR


@pytest.mark.parametrize(
    ("seen", "fetched", "switched", "waits"),
    [
        (NOW - HOUR, None, None, True),
        (NOW - HOUR, ANNOUNCED - 1, None, True),  # what it fetched is the old one alone
        (NOW - HOUR, ANNOUNCED + 1, None, False),
        (ANNOUNCED - HOUR, None, None, True),  # seen before, and within a week
        (NOW - LATELY_SECONDS - 1, None, None, False),
        (NOW - HOUR, None, SWITCHED, False),  # it trusts what signs now
        (SWITCHED - HOUR, None, SWITCHED, True),
        (SWITCHED - HOUR, ANNOUNCED + 1, SWITCHED, False),  # nobody knows
    ],
)
def test_who_may_not_be_ready(
    seen: float, fetched: float | None, switched: float | None, *, waits: bool
) -> None:
    """By what was seen of an address."""
    clients = AuthorityClients()
    clients.seen("192.0.2.1", seen)
    if fetched is not None:
        clients.fetched("192.0.2.1", fetched)
    waiting, _ = clients.waiting(ANNOUNCED, switched, NOW)
    assert [one.address for one in waiting] == (["192.0.2.1"] if waits else [])


def test_the_latest_comes_first() -> None:
    """Of all that were seen lately."""
    clients = AuthorityClients()
    for number in range(1, 4):
        clients.seen(f"192.0.2.{number}", NOW - number * HOUR)
    clients.seen("192.0.2.3", NOW - 10 * HOUR)  # a later word about earlier
    clients.fetched("192.0.2.2", NOW)
    waiting, lately = clients.waiting(ANNOUNCED, None, NOW)
    assert [one.address for one in waiting] == ["192.0.2.1", "192.0.2.3"]
    assert lately == 3


def test_who_only_fetches_is_not_waited_for() -> None:
    """It was not seen to pull."""
    clients = AuthorityClients()
    clients.fetched("192.0.2.1", ANNOUNCED - 1)
    assert clients.waiting(ANNOUNCED, None, NOW) == ([], 0)
    assert clients.rows() == {}


def test_what_is_kept_comes_back() -> None:
    """And what is known already is not overwritten by it."""
    clients = AuthorityClients()
    clients.seen("192.0.2.1", NOW)
    clients.fetched("192.0.2.1", NOW - HOUR)
    clients.seen("192.0.2.2", NOW)
    again = AuthorityClients()
    again.seen("192.0.2.2", NOW + HOUR)
    again.restore(clients.rows())
    assert again.rows() == {"192.0.2.1": (NOW, NOW - HOUR), "192.0.2.2": (NOW + HOUR, None)}


def test_it_is_bounded() -> None:
    """Those who were seen longest ago are forgotten."""
    clients = AuthorityClients()
    for number in range(MOST_REMEMBERED + 2):
        clients.seen(str(number), NOW)
    rows = clients.rows()
    assert len(rows) == MOST_REMEMBERED
    assert "1" not in rows

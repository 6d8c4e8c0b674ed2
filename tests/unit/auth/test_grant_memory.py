"""The memory of grants: within its bounds, and the oldest goes first."""

from entrepot.auth.grant_memory import Grants, Listings, Turns
from entrepot.protocol.identifiers import Digest

NOW = 1000.0


def digest(number: int) -> Digest:
    return Digest("sha256", f"{number:064x}")


def key(number: int) -> bytes:
    return number.to_bytes(32)


def test_grants_keep_within_their_bytes() -> None:
    """The scopes that were granted something longest ago are forgotten."""
    grants = Grants(100_000)
    for number in range(1000):
        grants.add(key(number), key(0), (NOW + 60, 0), NOW)
    assert 90_000 < grants.size <= 100_000
    assert grants.get(key(999), key(0)) == (NOW + 60, 0)
    assert grants.get(key(0), key(0)) is None


def test_one_scope_keeps_the_latest() -> None:
    """A credential that is allowed very much keeps a part of it; the rest is asked again."""
    grants = Grants(10**9)
    for number in range(3000):
        grants.add(key(0), key(number), (NOW + 60, 0), NOW)
    kept = [number for number in range(3000) if grants.get(key(0), key(number))]
    assert kept == list(range(2000, 3000))


def test_the_size_is_that_of_what_is_there() -> None:
    """However it went."""
    grants = Grants(10**9)
    for number in range(10):
        grants.add(key(number % 2), key(number), (NOW + number, 0), NOW + number / 2)
        grants.add(key(number % 2), key(number), (NOW + number + 1, 0), NOW + number / 2)
    grants.drop(key(0), key(8))
    grants.drop(key(0), key(77))
    grants.drop(key(1))
    grants.drop(key(1))
    rest = Grants(10**9)
    for digest, decision in reversed(list(grants.latest(key(0)))):
        rest.add(key(0), digest, decision, NOW)
    assert grants.size == rest.size
    for digest, _ in list(grants.latest(key(0))):
        grants.drop(key(0), digest)
    assert (grants.size, len(grants)) == (0, 0)


def test_the_decision_that_counts_longer_stays() -> None:
    """Whichever came first."""
    for order in (1, -1):
        grants = Grants(10**9)
        for decision in ((NOW + 60, 1), (NOW + 30, 2))[::order]:
            grants.add(key(0), key(0), decision, NOW)
        assert grants.get(key(0), key(0)) == (NOW + 60, 1)


def test_listings_keep_within_their_bytes() -> None:
    """Those that were used longest ago are forgotten; one that is too large at once."""
    listings = Listings(20_000)
    for number in range(100):
        for _ in range(2):
            listings.learn(digest(number), lambda: [digest(1000 + number)])  # noqa: B023 called at once
        listings.learn(digest(0), list)
    assert 19_000 < listings.size <= 20_000
    assert listings.lists(digest(0).raw, digest(1000).raw)
    assert not listings.lists(digest(1).raw, digest(1001).raw)
    listings.learn(digest(200), lambda: list(map(digest, range(10_000))))
    assert listings.size == 0


def test_of_what_is_forgotten_the_latest_turn_counts() -> None:
    """A flood cannot let through what was overruled."""
    turns = Turns(10)
    for number in range(100):
        turns.put(key(number), number + 1)
    assert (turns.last(key(99)), turns.known(key(99))) == (100, 100)
    assert (turns.last(key(0)), turns.known(key(0))) == (90, 0)
    turns.drop(key(99))
    assert (key(99) in turns, key(98) in turns) == (False, True)

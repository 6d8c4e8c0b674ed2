"""Maps that stay bounded, and of them one in which nobody takes more than a share."""

import pytest

from entrepot.bounded_map import BoundedMap, FairMap


def _filled(most: int, *keys: int) -> BoundedMap[int, str]:
    found: BoundedMap[int, str] = BoundedMap(most)
    for key in keys:
        found.put(key, f"value {key}")
    return found


def test_one_too_many_pushes_out_the_oldest() -> None:
    """Which the caller is told: it may hold something."""
    found = _filled(2, 1, 2)
    assert found.put(3, "value 3") == "value 1"
    assert list(found) == [2, 3]
    assert found.put(3, "another") is None
    assert found == {2: "value 2", 3: "another"}


def test_what_is_put_again_is_the_latest() -> None:
    """Unless it is to stay as old as it is."""
    found = _filled(3, 1, 2, 3)
    found.put(1, "again")
    assert list(found) == [2, 3, 1]
    found.put(2, "again", renew=False)
    assert found.oldest() == (2, "again")
    found.put(4, "value 4", renew=False)
    assert list(found) == [3, 1, 4]
    assert list(reversed(found)) == [4, 1, 3]


def test_reading_is_no_use() -> None:
    """Who wants an LRU cache says so at each hit."""
    found = _filled(2, 1, 2)
    assert found.get(1) == found[1] == "value 1"
    assert 1 in found
    assert found.oldest() == (1, "value 1")
    found.use(1)
    assert found.oldest() == (2, "value 2")


def test_what_is_not_there() -> None:
    """It is read as of any mapping, and may be taken out all the same."""
    found = _filled(2, 1)
    assert found.get(2) is None
    assert found.get(2, "none") == "none"
    assert found.pop(2) is None
    assert found.pop(1) == "value 1"
    assert found.oldest() is None
    with pytest.raises(KeyError):
        found.use(1)


def test_cleared_is_empty() -> None:
    """And serves again."""
    found = _filled(2, 1, 2)
    found.clear()
    assert not found
    found.put(3, "value 3")
    assert dict(found.items()) == {3: "value 3"}


def test_who_adds_without_end_loses_what_is_its_own() -> None:
    """The rest stays, however long ago it was used."""
    table: FairMap[int, str] = FairMap(100, 3)
    table.put(0, "another's", "a")
    for number in range(1, 1000):
        table.put(number, "", "b")
    assert list(table) == [0, 997, 998, 999]


def test_what_another_uses_too_is_everybodys() -> None:
    """No one's share counts for it, nor can any one push it out."""
    table: FairMap[int, str] = FairMap(100, 3)
    table.put(0, "shared", "b")
    assert table.get(0, "a") == "shared"
    for number in range(1, 1000):
        table.put(number, "", "b")
    assert list(table) == [0, 997, 998, 999]


def test_all_together_are_bounded_too() -> None:
    """What was used longest ago goes."""
    table: FairMap[int, int] = FairMap(10, 3)
    for number in range(100):
        table.put(number, number, f"owner {number}")
        table.get(0, "owner 0")
    assert len(table) == 10
    assert 0 in table
    assert 99 in table
    assert 50 not in table


def test_a_share_is_of_what_was_used_last() -> None:
    """A row that its owner uses stays."""
    table: FairMap[int, int] = FairMap(100, 2)
    table.put(1, 1, "a")
    table.put(2, 2, "a")
    table.get(1, "a")
    table.put(3, 3, "a")
    assert set(table) == {1, 3}
    assert table.peek(2) is None


def test_what_is_forgotten_frees_its_share() -> None:
    """Nothing is kept of an owner that has nothing."""
    table: FairMap[int, int] = FairMap(100, 2)
    for number in range(10):
        table.put(number, number, "a")
        table.forget(number)
    table.forget(99)
    assert len(table) == 0
    assert not table._owned  # noqa: SLF001 it would grow with the owners

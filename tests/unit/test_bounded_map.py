"""A bounded table in which nobody takes more than a share."""

from entrepot.bounded_map import Shares


def test_who_adds_without_end_loses_what_is_its_own() -> None:
    """The rest stays, however long ago it was used."""
    table: Shares[int, str] = Shares(100, 3)
    table.put(0, "another's", "a")
    for number in range(1, 1000):
        table.put(number, "", "b")
    assert list(table) == [0, 997, 998, 999]


def test_what_another_uses_too_is_everybodys() -> None:
    """No one's share counts for it, nor can any one push it out."""
    table: Shares[int, str] = Shares(100, 3)
    table.put(0, "shared", "b")
    assert table.get(0, "a") == "shared"
    for number in range(1, 1000):
        table.put(number, "", "b")
    assert list(table) == [0, 997, 998, 999]


def test_all_together_are_bounded_too() -> None:
    """What was used longest ago goes."""
    table: Shares[int, int] = Shares(10, 3)
    for number in range(100):
        table.put(number, number, f"owner {number}")
        table.get(0, "owner 0")
    assert len(table) == 10
    assert 0 in table
    assert 99 in table
    assert 50 not in table


def test_a_share_is_of_what_was_used_last() -> None:
    """A row that its owner uses stays."""
    table: Shares[int, int] = Shares(100, 2)
    table.put(1, 1, "a")
    table.put(2, 2, "a")
    table.get(1, "a")
    table.put(3, 3, "a")
    assert set(table) == {1, 3}
    assert table.peek(2) is None


def test_what_is_forgotten_frees_its_share() -> None:
    """Nothing is kept of an owner that has nothing."""
    table: Shares[int, int] = Shares(100, 2)
    for number in range(10):
        table.put(number, number, "a")
        table.forget(number)
    table.forget(99)
    assert len(table) == 0
    assert not table._owned  # noqa: SLF001 it would grow with the owners

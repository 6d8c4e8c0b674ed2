"""The small line of a tile."""

from entrepot.admin.site.sparkline import sparkline


def test_it_goes_from_side_to_side() -> None:
    """The highest value is near the top, nothing is at the bottom."""
    assert sparkline([0, 4, 2]) == "M0 28 L0.0 28.0 L60.0 2.0 L120.0 15.0 L120 28 Z"


def test_there_is_none_without_values() -> None:
    """Rather than a line along the bottom."""
    assert sparkline([]) == sparkline([0, 0, 0]) == sparkline([5]) == ""

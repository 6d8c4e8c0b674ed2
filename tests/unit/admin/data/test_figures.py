"""Sums of a window, and its series."""

from entrepot.admin.data.figures import as_series, figures
from entrepot.admin.data.periods import Window
from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import SumRow
from entrepot.observe.sums import Sum

WINDOW = Window("minute", 300, 3000, 4000)


def row(start: int, outcome: Outcome, **counts: int) -> SumRow:
    return SumRow(start, "docker.io", outcome, Sum(**counts))


def test_sums_fall_into_their_points() -> None:
    """Of all registries together; what is outside is left out."""
    found = figures(
        WINDOW,
        [
            row(3000, Outcome.HIT, requests=2, sent=100),
            row(3060, Outcome.HIT, requests=1, sent=50, from_upstream=10),
            row(3600, Outcome.MISS, requests=1, sent=30, from_upstream=30),
            row(9000, Outcome.MISS, requests=9),
        ],
    )
    series = as_series(found)
    assert series["times"] == [3000, 3300, 3600, 3900]
    assert series["saved"] == [140, 0, 0, 0]
    assert series["from_upstream"] == [10, 0, 30, 0]
    assert series["outcomes"]["hit"] == [3, 0, 0, 0]
    assert series["total"]["requests"] == 4
    assert series["total"]["saved"] == 140

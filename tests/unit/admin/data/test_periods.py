"""How finely a time is looked at."""

import pytest

from entrepot.admin.data.periods import PERIODS, Window, period_of

NOW = 1_790_000_000.0
DAY = 86400


@pytest.mark.parametrize("period", PERIODS, ids=lambda period: period.key)
def test_a_chart_has_as_many_points_as_can_be_told_apart(period: object) -> None:
    """Of each period, neither a handful nor a thousand."""
    seconds = period.seconds  # type: ignore[attr-defined]
    window = Window.make(NOW - seconds, NOW, NOW)
    points = list(window.starts())
    assert 50 <= len(points) <= 181
    assert points[0] <= NOW - seconds < points[0] + window.step
    assert points[-1] <= NOW < points[-1] + window.step
    assert window.at(points[3]) == 3


@pytest.mark.parametrize(
    ("ago", "length", "span"),
    [
        (0, 3600, "minute"),
        (DAY, 3600, "minute"),
        (5 * DAY, 3600, "hour"),  # minutes are kept for two days
        (5 * DAY, 4 * DAY, "hour"),
        (200 * DAY, 3600, "day"),  # hours for a hundred
        (0, 3000 * DAY, "day"),
    ],
)
def test_points_are_as_fine_as_there_are_sums(ago: int, length: int, span: str) -> None:
    """A zoom into what is long ago is as coarse as what is left of it."""
    window = Window.make(NOW - ago - length, NOW - ago, NOW)
    assert window.span == span
    assert window.since % window.step == 0


@pytest.mark.parametrize(("since", "until"), [(0, 1e11), (NOW, NOW - 5), (1e11, 0.0), (0, 0)])
def test_nonsense_is_bounded(since: float, until: float) -> None:
    """Whatever is asked for, there are points, and not too many."""
    window = Window.make(since, until, NOW)
    assert 1 <= len(list(window.starts())) <= 400


def test_an_unknown_period_is_the_ordinary_one() -> None:
    """Rather than an error on a page."""
    assert period_of("century") is period_of(None)
    assert period_of("week").seconds == 7 * DAY

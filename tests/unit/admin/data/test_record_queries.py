"""What a query asks of the records, whatever is in it."""

import pytest

from entrepot.admin.data.record_queries import filter_of, number_of, time_of
from entrepot.observe.outcome import Outcome


def test_a_filter_takes_what_it_knows() -> None:
    """What is empty or unknown is any."""
    found = filter_of({"client": " 10.0.0.1 ", "outcome": "hit", "registry": "", "what": "x"})
    assert (found.client, found.outcome, found.registry) == ("10.0.0.1", Outcome.HIT, None)
    assert filter_of({"outcome": "'; DROP TABLE requests"}).outcome is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("", 5), ("-1", 5), ("1e9", 5), ("٣", 5), ("9" * 30, 5), ("999", 100)],
)
def test_numbers_are_bounded(text: str, number: int) -> None:
    """Nothing else than digits counts."""
    assert number_of({"n": text}, "n", 5, 100) == number


@pytest.mark.parametrize(
    ("text", "time"), [("1790000000", 1.79e9), ("1.5", 1.5), ("nan", None), ("-1", None)]
)
def test_times_are_seconds(text: str, time: float | None) -> None:
    """Not what Python's float would take."""
    assert time_of({"since": text}, "since") == time

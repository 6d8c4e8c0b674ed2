"""When upstream is asked again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from entrepot.protocol.statuses import TRANSIENT
from entrepot.upstream.retry_policy import Patience

PATIENCE = Patience((0.25, 0.5), 10.0)


@pytest.mark.parametrize("status", [None, *sorted(TRANSIENT - {429})])
def test_what_may_pass_is_waited_out(status: int | None) -> None:
    """The pauses come in their order, and then no more."""
    pauses = [PATIENCE.pause(attempts, 0.0, status) for attempts in (1, 2, 3)]
    assert pauses == [0.25, 0.5, None]


@pytest.mark.parametrize("status", [200, 206, 301, 304, 400, 401, 403, 404, 405, 416, 501, 505])
def test_an_answer_is_an_answer(status: int) -> None:
    """A refusal is not asked again, whatever it says of later."""
    assert PATIENCE.pause(1, 0.0, status, "1") is None


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [("0", 0.25), ("3", 3.0), ("10", 10.0), ("11", None), ("9" * 400, None)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_short_wait_that_upstream_asks_for_is_kept(
    status: int, retry_after: str, wait: float | None
) -> None:
    """At least as long as it says, and not at all where it says long."""
    assert PATIENCE.pause(1, 0.0, status, retry_after) == wait


@pytest.mark.parametrize("text", [None, "", "soon", "-1", "1.5", "Thu, 99 Jan"])
def test_a_limit_without_a_time_is_passed_on(text: str | None) -> None:
    """A 429 that does not say when is not tried again; a 503 is, as if it said nothing."""
    assert PATIENCE.pause(1, 0.0, 429, text) is None
    assert PATIENCE.pause(1, 0.0, 503, text) == 0.25


def test_a_date_is_a_time() -> None:
    """Retry-After may be a date (RFC 9110 section 10.2.3)."""
    past, later = (
        format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
        for minutes in (-1, 1)
    )
    assert PATIENCE.pause(1, 0.0, 429, past) == 0.25
    assert PATIENCE.pause(1, 0.0, 429, later) is None


def test_patience_ends() -> None:
    """What took long, or would, is not tried again."""
    assert PATIENCE.pause(1, 9.0, 503) == 0.25
    assert PATIENCE.pause(1, 9.9, 503) is None
    assert PATIENCE.pause(2, 9.9, 503, "10") == 10.0
    assert PATIENCE.pause(2, 10.1, 503, "1") is None

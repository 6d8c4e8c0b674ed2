"""What statuses say: sets that differ on purpose."""

import pytest

from entrepot.protocol import statuses
from entrepot.protocol.statuses import reason_phrase


def test_what_passes_is_no_refusal() -> None:
    """Stale content is served instead of the one, never instead of the other."""
    assert not statuses.TRANSIENT & (statuses.REFUSALS | statuses.GONE)


def test_the_sets_of_what_passes_differ_on_purpose() -> None:
    """By a rate limit, and by a request that took too long to arrive."""
    assert {429} == statuses.TRANSIENT - statuses.TRANSIENT_AT_ONCE
    assert {408} == statuses.TRANSIENT_WHILE_FETCHING - statuses.TRANSIENT
    assert {429, 500} == statuses.TRANSIENT - statuses.TRANSIENT_OF_A_TUNNEL


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, False), (401, False), (404, False), (429, True), (500, True), (501, True), (599, True)],
)
def test_a_failing_token_server_gives_no_answer(status: int, expected: bool) -> None:  # noqa: FBT001
    assert statuses.is_no_answer(status) is expected


@pytest.mark.parametrize(
    ("status", "why", "phrase"),
    [
        (200, "", "OK"),
        (502, "", "Bad Gateway"),
        (502, "upstream: it is down", "Bad Gateway (upstream: it is down)"),
        (421, "a\r\nSet-Cookie: b", "Misdirected Request (a  Set-Cookie: b)"),
        (404, "café", "Not Found (caf )"),
        (599, "odd", "(odd)"),
    ],
)
def test_the_first_line_of_an_answer_says_why(status: int, why: str, phrase: str) -> None:
    """It stays one line, whatever the reason is made of."""
    assert reason_phrase(status, why) == phrase


def test_a_reason_stays_short() -> None:
    assert len(reason_phrase(502, "x" * 5000)) < 400

"""What became of a request, from what the client was told."""

import re

import pytest

from entrepot.observe.outcome import Outcome, said_by_us, understood
from entrepot.protocol import cache_status


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (cache_status.HIT, Outcome.HIT),
        (cache_status.REVALIDATED, Outcome.HIT),
        (cache_status.STALE, Outcome.HIT),
        (cache_status.UNCONFIRMED, Outcome.HIT),
        (cache_status.PING, Outcome.HIT),
        (cache_status.STORED, Outcome.MISS),
        (cache_status.UNSTORED, Outcome.MISS),
        (cache_status.MISS, Outcome.MISS),
        (cache_status.miss(404), Outcome.MISS),
        (cache_status.COLLAPSED, Outcome.COLLAPSED),
        (cache_status.bypass("tags"), Outcome.BYPASS),
        (cache_status.ERROR, Outcome.ERROR),
    ],
)
def test_each_answer_is_one_of_six(status: tuple[str, str], outcome: Outcome) -> None:
    """And has a reason in words."""
    answer = understood(said_by_us([status[1]]))
    assert answer.outcome is outcome
    assert re.fullmatch(r"[A-Za-z0-9' ,:]+", answer.reason)


def test_a_refusal_of_the_registrys_says_its_status() -> None:
    assert understood("fwd=miss; fwd-status=429").reason == "the registry answered 429"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["entrepot; hit"], "hit"),
        (["cdn; fwd=miss", "entrepot; fwd=miss; stored"], "fwd=miss; stored"),
        (["cdn; hit, entrepot; fwd=bypass; detail=tags"], "fwd=bypass; detail=tags"),
        (["entrepot; hit", "cdn; hit"], "hit"),
        (["cdn; hit"], ""),
        (["entrepot"], ""),
        ([], ""),
    ],
)
def test_what_other_caches_say_is_not_ours(values: list[str], said: str) -> None:
    assert said_by_us(values) == said


@pytest.mark.parametrize(
    ("parameters", "is_from_memory"),
    [
        ("hit", False),
        ("hit; detail=ping", True),
        ("detail=error", True),
        ("fwd=bypass; detail=tags", False),
    ],
)
def test_a_ping_has_no_bytes_of_the_disk(parameters: str, is_from_memory: bool) -> None:  # noqa: FBT001
    assert understood(parameters).is_from_memory is is_from_memory

"""Which hosts are not asked, and when they are tried again: small histories."""

import pytest

from entrepot.protocol.identifiers import Origin
from entrepot.upstream.circuit_breaker import (
    LONGEST_REST_SECONDS,
    TRIAL_SECONDS,
    WITHIN_SECONDS,
    Attempt,
    Breakers,
)

HOST, OTHER = (Origin("https", name, 443) for name in ("a.example.test", "b.example.test"))
T = 1000.0


def refused(breakers: Breakers, *times: float) -> bool:
    """Fail to connect at these times; whether the last changed anything."""
    return [breakers.failed(HOST, at, connected=False, slow=False) for at in times][-1]


def slow(breakers: Breakers, at: float, *, connected: bool = True) -> bool:
    return breakers.failed(HOST, at, connected=connected, slow=True)


def state(breakers: Breakers, now: float = T) -> str:
    return breakers.states(now).get(HOST, "up")


def asks(breakers: Breakers, now: float) -> tuple[Attempt, Attempt]:
    """What those get who have something to serve instead, and those who have not."""
    return breakers.ask(HOST, now, fallback=True), breakers.ask(HOST, now, fallback=False)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((0.0,), "up"),
        ((0.0, 1.0), "up"),
        ((0.0, 0.0, 0.0), "down"),
        ((0.0, 15.0, WITHIN_SECONDS - 1), "down"),
        ((0.0, 15.0, WITHIN_SECONDS), "up"),
        ((0.0, 1.0, 40.0, 50.0), "up"),
        ((0.0, 1.0, 40.0, 50.0, 60.0), "down"),
    ],
)
def test_three_failures_in_thirty_seconds_are_down(times: tuple[float, ...], expected: str) -> None:
    breakers = Breakers()
    changed = refused(breakers, *(T + at for at in times))
    assert (state(breakers), changed) == (expected, expected == "down")


def test_a_connection_that_then_breaks_does_not_count() -> None:
    """A request that makes a registry stumble does not take it from everybody else."""
    breakers = Breakers()
    for _ in range(10):
        assert not breakers.failed(HOST, T, connected=True, slow=False)
    assert (state(breakers), asks(breakers, T)) == ("up", (Attempt.NOW, Attempt.NOW))


def test_who_is_down_is_asked_by_nobody_but_for_a_trial() -> None:
    """The trial is one client's, and behind an answer where there is one."""
    breakers = Breakers()
    refused(breakers, T, T, T)
    assert asks(breakers, T + TRIAL_SECONDS - 1) == (Attempt.NOT, Attempt.NOT)
    assert asks(breakers, T + TRIAL_SECONDS) == (Attempt.BEHIND, Attempt.NOT)
    assert asks(breakers, T + 2 * TRIAL_SECONDS - 1) == (Attempt.NOT, Attempt.NOT)
    assert breakers.ask(HOST, T + 2 * TRIAL_SECONDS, fallback=False) is Attempt.NOW
    assert asks(breakers, T + 2 * TRIAL_SECONDS) == (Attempt.NOT, Attempt.NOT)


def test_who_is_slow_is_waited_for_only_where_nothing_else_can_be_served() -> None:
    """One deadline that passed is enough; and a failed trial counts as the time of a trial."""
    breakers = Breakers()
    assert slow(breakers, T)
    assert asks(breakers, T + 1) == (Attempt.NOT, Attempt.NOW)
    assert asks(breakers, T + TRIAL_SECONDS) == (Attempt.BEHIND, Attempt.NOW)
    assert not slow(breakers, T + 13)
    assert asks(breakers, T + 13 + TRIAL_SECONDS - 1) == (Attempt.NOT, Attempt.NOW)


def test_connections_that_time_out_are_slow_first_and_then_down() -> None:
    """In a black hole the first costs its deadline; the trials find out the rest."""
    breakers, seen = Breakers(), []
    for at in (T, T + 13, T + 26):
        slow(breakers, at, connected=False)
        seen.append(state(breakers))
    assert seen == ["slow", "slow", "down"]


@pytest.mark.parametrize("away", [True, False])
def test_any_answer_ends_it(away: bool) -> None:  # noqa: FBT001 a column of the table
    """And says whether that is news."""
    breakers = Breakers()
    refused(breakers, T, *([T, T] if away else [T]))
    assert breakers.answered(HOST) is away
    assert (state(breakers), asks(breakers, T)) == ("up", (Attempt.NOW, Attempt.NOW))
    assert not breakers.answered(HOST)
    assert refused(breakers, T, T, T), "what failed before the answer counts no more"


@pytest.mark.parametrize(
    ("until", "rests"), [(120.0, 120.0), (LONGEST_REST_SECONDS * 10, LONGEST_REST_SECONDS)]
)
def test_who_wants_rest_is_asked_only_for_what_cannot_be_had_otherwise(
    until: float, rests: float
) -> None:
    """An answer to somebody else does not end it; nor does it last for ever."""
    breakers = Breakers()
    breakers.rest(HOST, T + until, T)
    breakers.answered(HOST)
    assert (state(breakers), asks(breakers, T + rests - 1)) == (
        "resting",
        (Attempt.NOT, Attempt.NOW),
    )
    assert not breakers.is_away(HOST)
    assert (state(breakers, T + rests), asks(breakers, T + rests)) == (
        "up",
        (Attempt.NOW, Attempt.NOW),
    )


def test_hosts_stand_for_themselves() -> None:
    breakers = Breakers()
    refused(breakers, T, T, T)
    assert (breakers.is_away(HOST), breakers.is_away(OTHER)) == (True, False)
    assert breakers.ask(OTHER, T, fallback=True) is Attempt.NOW


def test_not_every_host_that_ever_failed_is_remembered() -> None:
    breakers = Breakers()
    refused(breakers, T, T, T)
    for number in range(1000):
        breakers.failed(Origin("https", f"{number}.test", 443), T, connected=False, slow=True)
    assert state(breakers) == "up"

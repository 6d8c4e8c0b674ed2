"""What monitors are told of each upstream host: small histories."""

import threading

import pytest

from entrepot.protocol.identifiers import Origin
from entrepot.upstream.host_outcomes import (
    MOST_HOSTS,
    FirstByte,
    HostOutcomes,
    LastFailure,
    Outcome,
    upstream_states,
)
from entrepot.upstream.rate_limits import RateLimit

HOST, OTHER = (Origin("https", name, 443) for name in ("a.example.test", "b.example.test"))
T = 1000.0
LIMIT = RateLimit(100, 7, 21600, None, T)


class World:
    """Outcomes by a clock that goes on by a second with each."""

    def __init__(self) -> None:
        self.now = T
        self.outcomes = HostOutcomes(self.wall)

    def wall(self) -> float:
        self.now += 1
        return self.now

    def meets(self, *what: int | str) -> Outcome:
        """Have a host answer with these statuses, or fail for these reasons."""
        for one in what:
            if isinstance(one, int):
                self.outcomes.answered(HOST, one, 0.010)
            else:
                self.outcomes.failed(HOST, one)
        return self.outcomes.known()[HOST]


@pytest.mark.parametrize(
    ("met", "state", "in_a_row"),
    [
        ((200,), "ok", 0),
        ((503,), "failing", 1),
        (("connection refused",), "failing", 1),
        ((200, 500, "no answer in time", 504), "failing", 3),
        ((503, 503, 200), "ok", 0),
        ((200, "the connection broke off"), "failing", 1),
        ((429,), "limited", 1),
        ((429, 503), "failing", 2),
        ((503, 429), "limited", 2),
        ((429, "connection refused"), "failing", 2),
        ((429, 200), "ok", 0),
        ((520,), "failing", 1),
        *(((status,), "ok", 0) for status in (206, 307, 401, 403, 404, 501, 505)),
    ],
)
def test_a_host_does_as_its_last_answer_says(
    met: tuple[int | str, ...], state: str, in_a_row: int
) -> None:
    """From the first failed request on, until the next fit answer."""
    found = World().meets(*met)
    assert (found.state, found.failures_in_a_row) == (state, in_a_row)


def test_when_it_last_did_what_is_kept() -> None:
    """A failure leaves the last success, a success the last failure."""
    world = World()
    assert world.meets("connection refused") == Outcome(
        "failing", 1, T + 1, None, None, LastFailure(T + 1, "connection refused"), None
    )
    assert world.meets(200, 503) == Outcome(
        "failing", 1, T + 3, 503, T + 2, LastFailure(T + 3, "it answered 503"), FirstByte(10, 10)
    )
    found = world.meets(404)
    assert (found.state, found.last_status, found.last_success) == ("ok", 404, T + 4)
    assert found.last_failure == LastFailure(T + 3, "it answered 503")


def test_the_first_byte_is_told_of_the_last_and_in_the_middle() -> None:
    """One slow answer among many does not move the median, and is forgotten in the end."""
    outcomes = HostOutcomes(lambda: T)
    for seconds in (0.01, 0.02, 5.0):
        outcomes.answered(HOST, 200, seconds)
    assert outcomes.known()[HOST].first_byte_ms == FirstByte(5000, 20)
    for _ in range(15):
        outcomes.answered(HOST, 200, 0.03)
    assert outcomes.known()[HOST].first_byte_ms == FirstByte(30, 30)


def test_a_reason_has_an_end() -> None:
    failure = World().meets("x" * 10_000).last_failure
    assert failure is not None
    assert len(failure.reason) == 200


def test_hosts_that_nobody_asks_any_more_make_room() -> None:
    outcomes = HostOutcomes(lambda: T)
    outcomes.failed(HOST, "connection refused")
    outcomes.answered(OTHER, 200, 0.01)
    for number in range(MOST_HOSTS - 1):
        outcomes.answered(Origin("https", f"{number}.test", 443), 200, 0.01)
        outcomes.answered(OTHER, 200, 0.01)
    known = outcomes.known()
    assert (len(known), HOST in known, OTHER in known) == (MOST_HOSTS, False, True)


def test_any_thread_may_tell() -> None:
    """What threads tell at once is all counted."""
    outcomes = HostOutcomes(lambda: T)

    def fail() -> None:
        for _ in range(500):
            outcomes.failed(HOST, "connection refused")

    threads = [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.known()[HOST].failures_in_a_row == 2000


# Together with the breaker and the rate limit


@pytest.mark.parametrize(
    ("met", "breaker", "state"),
    [
        ((200,), None, "ok"),
        ((503,), None, "failing"),
        (("connection refused",), "down", "down"),
        (("no answer in time",), "slow", "slow"),
        ((429,), "resting", "resting"),
        ((200,), "resting", "resting"),
    ],
)
def test_an_open_breaker_says_more_than_the_last_answer(
    met: tuple[int | str, ...], breaker: str | None, state: str
) -> None:
    world = World()
    world.meets(*met)
    breakers = {} if breaker is None else {HOST: breaker}
    found = upstream_states(world.outcomes.known(), breakers, {})[HOST]
    assert (found.state, found.breaker) == (state, breaker or "closed")
    assert found.is_ok is (state == "ok")


def test_trouble_comes_first() -> None:
    """Then names; a host is told of that only the breaker or its figures know any more."""
    outcomes = HostOutcomes(lambda: T)
    for name, status in (("d", 200), ("c", 503), ("b", 200), ("a", 200)):
        outcomes.answered(Origin("https", name, 443), status, 0.01)
    known = upstream_states(
        outcomes.known(), {OTHER: "down"}, {HOST: LIMIT, Origin("https", "a", 443): LIMIT}
    )
    assert [origin.host for origin in known] == [OTHER.host, "c", "a", HOST.host, "b", "d"]
    assert (known[HOST].ratelimit, known[HOST].last_asked) == (LIMIT, None)


def test_there_is_an_end_of_hosts() -> None:
    down = {Origin("https", f"{number}.test", 443): "down" for number in range(1000)}
    outcomes = HostOutcomes(lambda: T)
    outcomes.answered(HOST, 200, 0.01)
    known = upstream_states(outcomes.known(), down, {})
    assert (len(known), HOST in known) == (MOST_HOSTS, False)

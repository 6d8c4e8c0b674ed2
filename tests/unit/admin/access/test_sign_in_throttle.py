"""Wrong tokens: a few a minute of one client, and not many of all."""

from entrepot.admin.access.sign_in_throttle import MOST_OF_ALL, MOST_OF_CLIENT, SignInThrottle


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_client_has_some_tries() -> None:
    """Then it waits a minute; others need not."""
    clock = Clock()
    throttle = SignInThrottle(clock)
    for _ in range(MOST_OF_CLIENT):
        assert not throttle.wait("10.0.0.1")
        throttle.failed("10.0.0.1")
    assert throttle.wait("10.0.0.1") == 60
    assert not throttle.wait("10.0.0.2")
    clock.now += 60
    assert not throttle.wait("10.0.0.1")


def test_the_right_token_forgives() -> None:
    """Who mistyped it has all tries again."""
    throttle = SignInThrottle(Clock())
    for _ in range(MOST_OF_CLIENT - 1):
        throttle.failed("10.0.0.1")
    throttle.succeeded("10.0.0.1")
    throttle.failed("10.0.0.1")
    assert not throttle.wait("10.0.0.1")


def test_many_clients_together_are_slowed_too() -> None:
    """Who has many addresses has no more tries than that."""
    throttle = SignInThrottle(Clock())
    for number in range(MOST_OF_ALL):
        throttle.failed(f"10.0.{number}.1")
    assert throttle.wait("10.9.9.9")

"""Sessions: as long as they are used, a week at most."""

from entrepot.admin.access.sessions import IDLE_SECONDS, Sessions


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_known_by_its_cookie_alone() -> None:
    """And its changes by another secret, which a page has and a cookie does not."""
    sessions = Sessions(Clock())
    cookie = sessions.begin("10.0.0.1")
    session = sessions.of(cookie)
    assert session is not None
    assert session.client == "10.0.0.1"
    assert session.owns(session.csrf)
    assert not session.owns("")
    assert not session.owns(cookie)
    assert sessions.of(cookie + "x") is None


def test_it_ends_when_nobody_uses_it() -> None:
    """Use prolongs it, up to a week."""
    clock = Clock()
    sessions = Sessions(clock)
    cookie = sessions.begin("10.0.0.1")
    for _ in range(13):
        clock.now += IDLE_SECONDS - 1
        assert sessions.of(cookie) is not None
    clock.now = 1000.0 + 7 * 86400
    assert sessions.of(cookie) is None
    other = sessions.begin("10.0.0.1")
    clock.now += IDLE_SECONDS
    assert sessions.of(other) is None


def test_signing_out_ends_it() -> None:
    """At once, and twice is harmless."""
    sessions = Sessions(Clock())
    cookie = sessions.begin("10.0.0.1")
    sessions.end(cookie)
    sessions.end(cookie)
    assert sessions.of(cookie) is None


def test_only_so_many_are_remembered() -> None:
    """The oldest goes."""
    sessions = Sessions(Clock())
    first = sessions.begin("10.0.0.1")
    for _ in range(100):
        sessions.begin("10.0.0.2")
    assert sessions.of(first) is None

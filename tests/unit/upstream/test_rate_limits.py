"""What upstreams say of their rate limits, and what an administrator is told."""

import pytest

from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields
from entrepot.upstream.rate_limits import RateLimit, RateLimits, account_hint

HOST = Origin("https", "registry-1.docker.io", 443)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), None),
        ((("ratelimit-limit", "many"),), None),
        ((("docker-ratelimit-source", "192.0.2.1"),), None),
        (
            (
                ("RateLimit-Limit", "100;w=21600"),
                ("RateLimit-Remaining", "76;w=21600"),
                ("Docker-RateLimit-Source", "192.0.2.1"),
            ),
            RateLimit(100, 76, 21600, "192.0.2.1", 5.0),
        ),
        ((("ratelimit-remaining", "0;w=60"),), RateLimit(None, 0, 60, None, 5.0)),
        ((("ratelimit-limit", "200"),), RateLimit(200, None, None, None, 5.0)),
        (
            (("ratelimit-limit", "9" * 13), ("ratelimit-remaining", "1")),
            RateLimit(None, 1, None, None, 5.0),
        ),
        (
            (("ratelimit-limit", "1"), ("docker-ratelimit-source", "a\x1b[0m b")),
            RateLimit(1, None, None, None, 5.0),
        ),
    ],
)
def test_reading(headers: Fields, expected: RateLimit | None) -> None:
    """As Docker Hub writes it; what is written otherwise is not guessed at, nor passed on."""
    assert RateLimit.read(headers, 5.0) == expected


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (
            RateLimit(100, 0, 21600, "192.0.2.1", 5.0),
            {"limit": 100, "window": "21600s", "source": "192.0.2.1"},
        ),
        (RateLimit(None, 0, None, None, 5.0), {}),
    ],
)
def test_a_line_says_what_is_known(limit: RateLimit, said: dict[str, object]) -> None:
    assert limit.known() == said


def test_the_last_figures_are_kept() -> None:
    """An answer that says nothing of it changes nothing."""
    limits = RateLimits()
    for remaining, at in ((5, 1.0), (4, 2.0)):
        limits.note(HOST, (("ratelimit-remaining", str(remaining)),), at)
    limits.note(HOST, (), 3.0)
    assert limits.last == {HOST: RateLimit(None, 4, None, None, 2.0)}


def test_a_limit_is_news_once_a_minute() -> None:
    """For each host: a fleet that pulls must not fill the log."""
    limits, other = RateLimits(), Origin("https", "ghcr.io", 443)
    assert [limits.is_news(HOST, at) for at in (0.0, 1.0, 59.0, 60.0, 61.0)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert limits.is_news(other, 61.0)


def test_hosts_are_not_remembered_without_end() -> None:
    limits = RateLimits()
    for number in range(1100):
        limits.note(Origin("https", f"{number}.test", 443), (("ratelimit-limit", "1"),), 0.0)
    assert len(limits.last) == 1000


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        (HOST, "docker.io"),
        (Origin("https", "ghcr.io", 443), "ghcr.io"),
        (Origin("https", "git.example.com", 5443), "git.example.com:5443"),
    ],
)
def test_what_to_do_names_the_registry_as_it_is_configured(origin: Origin, name: str) -> None:
    """Docker Hub is reached by a name that nobody writes."""
    assert f"[registry.'{name}']" in account_hint(origin)

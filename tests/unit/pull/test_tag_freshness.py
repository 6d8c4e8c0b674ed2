"""When a tag may be answered from the cache."""

import pytest

from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.pull.tag_freshness import Ask, Head, Latest, Verdict, ask, judge

DIGEST = Digest.of(b"manifest")


@pytest.mark.parametrize(
    ("method", "known", "how"),
    [
        ("GET", True, Ask.HEAD),
        ("GET", False, Ask.GET),
        ("HEAD", True, Ask.HEAD),
        ("HEAD", False, Ask.HEAD),
    ],
)
def test_a_known_tag_costs_a_head_first(
    method: str,
    known: bool,  # noqa: FBT001 a column of the table
    how: Ask,
) -> None:
    """HEAD is tried where it can spare the GET, and only there."""
    assert ask(method, known=known) is how


@pytest.mark.parametrize(
    ("status", "digest", "held", "verdict"),
    [
        (200, DIGEST, True, Verdict.SERVE),
        (200, DIGEST, False, Verdict.FETCH),
        (200, None, True, Verdict.FETCH),
        (200, None, False, Verdict.FETCH),
        *((status, DIGEST, True, Verdict.RELAY) for status in (204, 206, 302, 304)),
        *((status, DIGEST, True, Verdict.RELAY) for status in (400, 401, 403, 404, 405, 429)),
        *((status, None, False, Verdict.RELAY) for status in (500, 502, 503, 504)),
    ],
)
def test_only_a_200_with_the_held_digest_is_served_from_the_cache(
    status: int,
    digest: Digest | None,
    held: bool,  # noqa: FBT001 a column of the table
    verdict: Verdict,
) -> None:
    """A tag is never silently stale: no other answer of upstream leads to the held manifest."""
    assert judge(Head(status, digest), held=held) is verdict


def test_what_was_asked_earlier_is_no_news() -> None:
    """Whenever it is answered; each tag of each repository has its own latest word."""
    latest, origin = Latest(), Origin("https", "registry.test", 443)
    app, other = Repository(origin, "app"), Repository(origin, "other")
    assert latest.is_news(app, "1", 20.0)
    assert not latest.is_news(app, "1", 19.9)
    assert latest.is_news(app, "1", 20.0)
    assert latest.is_news(app, "2", 10.0)
    assert latest.is_news(other, "1", 10.0)
    assert latest.is_news(app, "1", 30.0)
    assert not latest.is_news(app, "1", 20.0)

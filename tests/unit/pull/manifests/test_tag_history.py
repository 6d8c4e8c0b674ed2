"""What upstream said of tags, in the order in which it was asked."""

import asyncio

import pytest

from entrepot.auth.grants import Asked
from entrepot.protocol.identifiers import Origin, Repository, Tag
from entrepot.protocol.messages import Request
from entrepot.pull.manifests.tag_history import Latest, TagHistory
from entrepot.pull.pull import TagPull
from unit.pull.away import ALICE, DIGEST, NOBODY, REPOSITORY, Away


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


@pytest.mark.parametrize("client", [NOBODY, ALICE], ids=["anybody", "a login of one's own"])
def test_that_a_tag_is_gone_stays_true_when_an_earlier_answer_comes_late(
    away: Away, client: Request
) -> None:
    """Of two answers to the same client the one counts that was asked for later."""
    away.keep(public=True)
    who, tag = away.access.credentials.of(client), Tag("1")
    away.access.allow(REPOSITORY, who, (DIGEST,), away.access.asked(away.now))
    history = TagHistory(away.context.store_thread, away.access, lambda: away.now)
    pull = TagPull(client, REPOSITORY, tag, who)

    def found(seconds: float) -> None:
        history.found(pull, DIGEST, Asked(away.now + seconds))()

    def is_served() -> bool:
        entries = away.store.tags.get(REPOSITORY, "1")
        return asyncio.run(away.stale().find(pull, entries)) is not None

    found(1)
    assert is_served()
    asyncio.run(history.gone(pull, Asked(away.now + 3)))
    assert not is_served()
    found(2)
    assert not is_served()
    found(4)
    assert is_served()

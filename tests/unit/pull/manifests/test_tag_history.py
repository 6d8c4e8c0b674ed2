"""What upstream said of tags, in the order in which it was asked."""

from entrepot.protocol.identifiers import Origin, Repository
from entrepot.pull.manifests.tag_history import Latest


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

"""Clients that can get no token: when upstream is asked for them again."""

from dataclasses import replace

import pytest

from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request
from unit.pull.away import ALICE, NOBODY, ORIGIN, Away


@pytest.mark.parametrize(
    ("request_", "after", "tag", "digest"),
    [
        (NOBODY, 0.0, False, False),
        (NOBODY, 59.0, False, False),
        (NOBODY, 60.0, True, False),
        (NOBODY, 600.0, True, True),
        (ALICE, 0.0, True, True),
        (replace(NOBODY, without_token=True), 1e6, False, False),
        (replace(NOBODY, origin=Origin("https", "other.test", 443)), 0.0, True, True),
    ],
)
def test_who_was_told_to_go_without_a_token_is_not_refused_for_it(
    away: Away, request_: Request, after: float, *, tag: bool, digest: bool
) -> None:
    """Upstream is asked again for tags after a minute, for content by digest after ten."""
    stale = away.stale()
    stale.without_token.told(ORIGIN, [ORIGIN])
    away.wait(after)
    assert stale.may_ask(request_, by_digest=False) is tag
    assert stale.may_ask(request_, by_digest=True) is digest

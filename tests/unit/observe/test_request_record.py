"""What a record says of itself."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.observe.outcome import Outcome
from entrepot.observe.request_record import LONGEST_AGENT, RequestRecord, cleaned_agent
from unit.observe.world import BLOB, TAG


@given(st.text())
def test_no_agent_does_harm(text: str) -> None:
    """It is bounded, printable and ASCII, whatever a client calls itself."""
    shown = cleaned_agent(text)
    assert len(shown) <= LONGEST_AGENT
    assert shown.isascii()
    assert not shown or shown.isprintable()


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        (TAG, True),
        (replace(TAG, method="HEAD"), False),
        (replace(TAG, kind="index"), False),
        (replace(TAG, status=404), False),
        (replace(TAG, registry="ghcr.io"), False),
        (BLOB, False),
    ],
)
def test_docker_hub_counts_gets_of_manifests(record: RequestRecord, counts: bool) -> None:  # noqa: FBT001
    """No HEAD, no index of many platforms, no blob, nothing that was refused."""
    assert record.is_hub_pull is counts


@pytest.mark.parametrize(
    ("record", "is_hit"),
    [
        (BLOB, True),
        (replace(BLOB, outcome=Outcome.COLLAPSED), True),
        (replace(BLOB, outcome=Outcome.MISS), False),
        (replace(BLOB, kind="ping"), False),
        (replace(BLOB, status=404), False),
    ],
)
def test_a_hit_is_of_content(record: RequestRecord, is_hit: bool) -> None:  # noqa: FBT001
    """A ping that was answered from memory saves nobody a layer."""
    assert record.is_hit is is_hit

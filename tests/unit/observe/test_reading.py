"""Pages of records, and what is looked for in them."""

from dataclasses import replace

import pytest

from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import Filter
from unit.observe.world import BLOB, NOON, TAG, World, at_each


def test_records_are_paged_the_latest_first(world: World) -> None:
    """By number, so that what comes meanwhile moves no page."""
    world.write(*at_each(BLOB, [NOON + n for n in range(25)]))
    first = world.reader.requests(most=10)
    world.write(TAG)
    second = world.reader.requests(before=first[-1].number, most=10)
    assert [stored.record.at - NOON for stored in (*first, *second)] == list(range(24, 4, -1))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), 4),
        (Filter(client="10.0.0.8"), 1),
        (Filter(registry="ghcr.io"), 1),
        (Filter(repository="library/alpine", outcome=Outcome.HIT), 3),
        (Filter(outcome=Outcome.MISS), 1),
        (Filter(client="' OR 1=1"), 0),
        (Filter(since=NOON + 1), 1),
        (Filter(until=NOON + 1), 3),
    ],
)
def test_records_are_filtered(world: World, wanted: Filter, found: int) -> None:
    world.write(
        BLOB,
        replace(BLOB, client="10.0.0.8"),
        replace(BLOB, registry="ghcr.io"),
        replace(BLOB, outcome=Outcome.MISS, at=NOON + 1),
    )
    assert len(world.reader.requests(wanted)) == found


def test_pulls_are_filtered_and_paged(world: World) -> None:
    world.write(*[replace(TAG, client=f"10.0.0.{n}") for n in range(5)])
    latest = world.reader.pulls(most=2)
    assert [pull.client for pull in latest] == ["10.0.0.4", "10.0.0.3"]
    (found,) = world.reader.pulls(Filter(client="10.0.0.2"), before=latest[-1].number)
    assert (found.client, found.road) == ("10.0.0.2", TAG.road)


def test_a_reader_sees_what_is_written_meanwhile(world: World) -> None:
    """Neither waits for the other."""
    world.write(BLOB)
    assert len(world.reader.requests()) == 1
    world.write(TAG)
    assert len(world.reader.requests()) == 2

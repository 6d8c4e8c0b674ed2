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


def test_pulls_are_ranked(world: World) -> None:
    """Repositories and clients, by how many pulls; each with what they add up to."""
    other = replace(TAG, client="10.0.0.7", repository="library/redis", agent="containerd/2.1")
    world.write(TAG, replace(BLOB, at=NOON + 1), other)
    world.write(*(replace(other, at=NOON + number, reference=f"{number}") for number in (5, 6)))
    first, second = world.reader.top_images(NOON - 60, 10)
    assert (first.names, first.pulls) == (("docker.io", "library/redis"), 3)
    assert (second.pulls, second.requests, second.sent) == (1, 2, 1010)
    assert second.saved == 1010
    busy, idle = world.reader.clients(NOON - 60, 10)
    assert busy.names == ("10.0.0.7", "containerd/2.1")
    assert idle.names[0] == "10.0.0.9"
    assert idle.last == pytest.approx(NOON + 1, abs=1)
    assert world.reader.clients(NOON + 3600, 10) == []
    assert len(world.reader.top_images(0, 1)) == 1


def test_failures_are_counted_by_reason(world: World) -> None:
    """Refusals and errors of each registry; a challenge is how every pull begins."""
    failed = replace(TAG, status=503, outcome=Outcome.ERROR, why="the registry answered 503")
    challenge = replace(TAG, status=401, outcome=Outcome.MISS, why="the registry answered 401")
    gone = replace(TAG, status=404, outcome=Outcome.MISS, why="the registry answered 404")
    world.write(TAG, failed, replace(failed, at=NOON + 9), challenge, gone)
    first, second = world.reader.failures(NOON - 60, 10)
    assert (first.why, first.registry, first.requests) == (failed.why, "docker.io", 2)
    assert first.last == NOON + 9
    assert second.why == gone.why

"""Sums for charts: by minute, hour and day, by registry and outcome."""

from dataclasses import replace

from entrepot.observe.outcome import Outcome
from entrepot.observe.sums import OTHERS, SECONDS, Sum
from unit.observe.world import BLOB, DAY, NOON, TAG, World

MISS = replace(BLOB, outcome=Outcome.MISS, sent=1000, from_disk=0, from_upstream=1000)


def test_each_span_adds_up(world: World) -> None:
    """Two minutes of one hour, in batches of their own, and another registry beside them."""
    world.write(BLOB, TAG, MISS)
    world.write(replace(BLOB, at=NOON + 60), replace(BLOB, registry="ghcr.io"))
    minutes = world.reader.sums("minute", NOON - 60, NOON + 61)
    assert [(row.start - NOON // 60 * 60, row.registry, row.outcome.value) for row in minutes] == [
        (0, "docker.io", "hit"),
        (0, "docker.io", "miss"),
        (0, "ghcr.io", "hit"),
        (60, "docker.io", "hit"),
    ]
    (hits, misses, _, _) = [row.sum for row in minutes]
    assert hits == Sum(2, 2, 2, 1010, 0, 1, 1, 1)
    assert misses == Sum(1, 1, 0, 1000, 1000, 0, 0, 0)
    assert (hits.saved, misses.saved) == (1010, 0)
    (day, *_) = world.reader.sums("day", NOON - DAY, NOON + 1)
    assert (day.start % SECONDS["day"], day.sum.requests) == (0, 3)


def test_what_was_ever_saved_outlives_records_and_process(world: World) -> None:
    """The days stay when the records, the minutes and the hours are gone."""
    world.write(BLOB, MISS)
    world.now += 200 * DAY
    world.keep_up()
    world.store.close()
    world.begin()
    world.write(replace(BLOB, at=world.now))
    assert len(world.shown()) == 1
    assert world.reader.sums("minute", 0, NOON + 1) == []
    assert world.reader.sums("hour", 0, NOON + 1) == []
    totals = world.reader.totals()
    assert totals["docker.io", Outcome.HIT].saved == 2000
    assert totals["docker.io", Outcome.MISS].saved == 0


def test_registries_without_end_are_bounded(world: World) -> None:
    """Clients can name ever new ones: the sums of what comes after 200 are one."""
    world.write(*[replace(BLOB, registry=f"r{n}.example") for n in range(250)])
    names = {name for name, _ in world.reader.totals()}
    assert len(names) == 201
    assert world.reader.totals()[OTHERS, Outcome.HIT].requests == 50

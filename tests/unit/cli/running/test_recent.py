"""The last minute, read a little at a time."""

from dataclasses import replace

from entrepot.cli.running.recent import Activity, Busy, Recent
from unit.observe.world import BLOB, NOON, TAG, World, at_each

IMAGE = "docker.io/library/alpine"


def test_each_request_is_counted_while_it_is_in_the_window(world: World) -> None:
    """Once, however often is looked, and no longer than a minute."""
    recent = Recent(world.reader, lambda: world.now)
    world.write(*at_each(BLOB, [NOON - 61, NOON, NOON]))
    for _ in range(2):
        found = recent.look(9)
        assert (found.requests, found.sent) == (2 / 60, 2000 / 60)
        assert found.images == (Busy(IMAGE, 2, 2000, "docker/26.1"),)
    world.now += 30
    world.write(replace(BLOB, at=world.now, client="10.0.0.8", repository="library/redis"))
    assert recent.look(9).requests == 3 / 60
    world.now += 31
    assert recent.look(9).clients == (Busy("10.0.0.8", 1, 1000, "docker/26.1"),)


def test_the_busiest_come_first_by_their_bytes(world: World) -> None:
    recent = Recent(world.reader, lambda: world.now)
    many = [replace(TAG, client="10.0.0.1")] * 5
    world.write(*many, replace(BLOB, client="10.0.0.2"), replace(BLOB, repository=""))
    found = recent.look(2)
    assert [one.name for one in found.clients] == ["10.0.0.2", "10.0.0.9"]
    assert found.images == (Busy(IMAGE, 6, 1050, "docker/26.1"),)
    assert (found.content, found.hits) == (7, 7)


def test_more_than_a_page_is_read(world: World) -> None:
    recent = Recent(world.reader, lambda: world.now)
    world.write(*[TAG] * 2500)
    assert recent.look(1).requests == 2500 / 60


def test_nothing_is_an_answer_too(world: World) -> None:
    assert Recent(world.reader, lambda: world.now).look(5) == Activity(0, 0, 0, 0, (), ())

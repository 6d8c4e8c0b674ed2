"""The authority of a proxy that runs: what it takes up of the folder, and when it says what."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from entrepot.app.authority_in_use import AuthorityInUse, Standing
from entrepot.app.authority_watch import AuthorityWatch
from entrepot.app.clients_file import CLIENTS_NAME
from entrepot.events.log import Events
from entrepot_ca import abort, announce, announcement, create, move
from rig.process import eventually

NOW = datetime(2026, 11, 28, tzinfo=UTC)
DAY = timedelta(days=1)
CLIENT = "192.0.2.1"


class World:
    """A folder, a clock of its own, and who is told of a switch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW
        self.events = Events(self.steady)
        authority = create(folder / "ca", now=NOW)
        self.old = authority
        self.in_use = AuthorityInUse(
            folder / "ca", Standing(authority, None), self.events, self.wall
        )
        self.switches: list[str] = []
        self.in_use.on_switch = lambda: self.switches.append(
            self.in_use.standing.authority.fingerprint
        )

    def wall(self) -> float:
        return self.now.timestamp()

    steady = wall

    def after(self, days: float) -> None:
        self.now = NOW + days * DAY
        self.in_use.refresh()

    def watch(self, *, keep_addresses: bool = True) -> AuthorityWatch:
        return AuthorityWatch(
            self.in_use,
            self.folder,
            self.events,
            self.steady,
            keep_addresses=keep_addresses,
            look=0.01,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Names(logging.Handler):
    """Keeps the names of events."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record.getMessage().split()[0])

    def take(self) -> list[str]:
        kept, self.kept = self.kept, []
        return kept


@pytest.fixture
def lines() -> Iterator[Callable[[], list[str]]]:
    """The names of what was logged since it was last asked."""
    logger, names = logging.getLogger("entrepot"), Names()
    logger.addHandler(names)
    before = logger.level
    logger.setLevel(logging.INFO)
    yield names.take
    logger.setLevel(before)
    logger.removeHandler(names)


def test_a_rotation_from_begin_to_end(world: World, lines: Callable[[], list[str]]) -> None:
    """Each step is taken up once, said once, and only a switch is told to who signs."""
    world.in_use.refresh()
    assert lines() == []
    rotation = announce(world.folder / "ca", switch=NOW + 7 * DAY, now=NOW)
    new = rotation.successor.fingerprint
    for days, said, switches in (
        (0, ["authority_announced"], []),
        (6.99, [], []),
        (7, ["authority_switched"], [new]),
        (36.9, [], [new]),
        (37, ["rotation_ended"], [new]),
        (40, [], [new]),
    ):
        world.after(days)
        assert (days, lines(), world.switches) == (days, said, switches)
    assert world.in_use.announcement == rotation.successor.certificate_pem


def test_a_date_that_is_moved(world: World, lines: Callable[[], list[str]]) -> None:
    """Is said as an announcement is."""
    announce(world.folder / "ca", switch=NOW + 7 * DAY, now=NOW)
    world.after(0)
    moved = move(world.folder / "ca", NOW + 9 * DAY, now=NOW)
    world.after(7)
    assert lines() == ["authority_announced", "authority_announced"]
    assert world.switches == []
    assert world.in_use.announcement == announcement(world.old, moved)


def test_an_announcement_that_is_undone(world: World, lines: Callable[[], list[str]]) -> None:
    """Leaves all as it was."""
    announce(world.folder / "ca", now=NOW)
    world.after(0)
    abort(world.folder / "ca")
    world.after(31)
    assert lines() == ["authority_announced", "rotation_aborted"]
    assert (world.switches, world.in_use.announcement) == ([], world.old.certificate_pem)


def test_the_names_that_it_signs_for_change_with_it(world: World) -> None:
    """With the switch, not before."""
    announce(world.folder / "ca", permit=["a.example"], switch=NOW + DAY, now=NOW)
    world.after(0.5)
    assert world.in_use.permits("b.example")
    world.after(1)
    assert world.in_use.permits("a.example")
    assert not world.in_use.permits("b.example")


def test_what_cannot_be_read_changes_nothing(world: World, lines: Callable[[], list[str]]) -> None:
    """It is said once in ten minutes, and taken up once it can be read again."""
    announce(world.folder / "ca", switch=NOW + DAY, now=NOW)
    world.after(0)
    file = world.folder / "ca" / "rotation.json"
    text = file.read_bytes()
    file.write_bytes(b"{")
    world.after(2)
    world.after(2)
    assert lines() == ["authority_announced", "rotation_failed"]
    assert world.switches == []
    file.write_bytes(text)
    world.after(2)
    assert lines() == ["authority_switched"]


@pytest.mark.parametrize(
    ("days_left", "rotates", "said"),
    [
        (31, False, []),
        (29, False, ["authority_expires"]),
        (29, True, ["authority_rotating"]),
        (900, True, ["authority_rotating"]),
    ],
)
def test_reminders(
    world: World, lines: Callable[[], list[str]], days_left: int, *, rotates: bool, said: list[str]
) -> None:
    """An end that is near, unless a successor is announced, which is to be installed."""
    world.now = world.old.expires - days_left * DAY
    if rotates:
        announce(world.folder / "ca", now=world.now)
        world.in_use.refresh()
        lines()
    world.in_use.remind()
    assert lines() == said


def test_a_watch_reminds_each_day_and_switches(
    world: World, lines: Callable[[], list[str]]
) -> None:
    """Without anybody asking."""
    announce(world.folder / "ca", switch=NOW + 1.5 * DAY, now=NOW)
    watch = world.watch()
    watch.start()
    try:
        said: list[str] = []

        def heard(name: str, times: int = 1) -> None:
            def is_there() -> bool:
                said.extend(lines())
                return said.count(name) >= times

            eventually(is_there, what=name)

        heard("authority_announced")
        world.now = NOW + 1.1 * DAY
        heard("authority_rotating")
        world.now = NOW + 1.5 * DAY
        heard("authority_switched")  # which is said just before
        eventually(lambda: world.switches, what="a switch")
    finally:
        watch.stop()
    assert said.count("authority_rotating") == 1
    assert len(world.switches) == 1


@pytest.mark.parametrize("keep_addresses", [True, False])
def test_what_is_known_of_clients_outlives_a_process(world: World, *, keep_addresses: bool) -> None:
    """While a rotation is under way, and where whole addresses may be kept; privately."""
    announce(world.folder / "ca", now=NOW)
    world.after(0)
    world.in_use.clients.trusted(CLIENT, world.wall())
    watch = world.watch(keep_addresses=keep_addresses)
    watch.start()
    watch.stop()
    file = world.folder / CLIENTS_NAME
    assert file.exists() is keep_addresses
    again = AuthorityInUse(world.folder / "ca", world.in_use.standing, world.events, world.wall)
    watch = AuthorityWatch(again, world.folder, world.events, world.steady)
    watch.start()
    watch.stop()
    rotation = again.described()["rotation"]
    assert isinstance(rotation, dict)
    waiting = [row["client"] for row in rotation["waiting_clients"]]
    assert waiting == ([CLIENT] if keep_addresses else [])
    if keep_addresses:
        assert file.stat().st_mode & 0o777 == 0o600


def test_addresses_go_with_the_rotation(world: World) -> None:
    """When it has ended nobody needs them."""
    announce(world.folder / "ca", now=NOW)
    world.after(0)
    world.in_use.clients.trusted(CLIENT, world.wall())
    watch = world.watch()
    watch.start()
    watch.stop()
    abort(world.folder / "ca")
    world.after(1)
    watch = world.watch()
    watch.start()
    watch.stop()
    assert not (world.folder / CLIENTS_NAME).exists()


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": ["x", null]}', "\xff"])
def test_a_damaged_file_of_clients_is_left_out(world: World, text: str) -> None:
    """It is for people alone."""
    announce(world.folder / "ca", now=NOW)
    world.after(0)
    (world.folder / CLIENTS_NAME).write_bytes(text.encode("latin-1"))
    watch = world.watch()
    watch.start()
    watch.stop()
    assert world.in_use.described()["rotation"]

"""A rotation in a folder: announced, switched, ended or undone; whatever kills it, wherever."""

import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from entrepot_ca import (
    FILE_NAME,
    Authority,
    AuthorityError,
    Rotation,
    abort,
    advance,
    announce,
    announcement,
    create,
    ensure,
    load,
    move,
)

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
SWITCH = NOW + 7 * DAY


@pytest.fixture
def old(tmp_path: Path) -> Authority:
    return create(tmp_path, now=NOW)


@pytest.fixture
def rotation(tmp_path: Path, old: Authority) -> Rotation:
    """Announced."""
    assert old
    return announce(tmp_path, switch=SWITCH, now=NOW)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_old_one_signs_until_the_date(
    tmp_path: Path, old: Authority, rotation: Rotation
) -> None:
    """What is announced is not in use yet; at the date it is."""
    assert advance(tmp_path, SWITCH - timedelta(seconds=1)) == rotation
    assert load(tmp_path) == old
    switched = advance(tmp_path, SWITCH)
    assert switched is not None
    assert switched.switched
    assert load(tmp_path) == switched.in_use
    assert switched.in_use.certificate == rotation.successor.certificate
    assert switched.predecessor.certificate == old.certificate


def test_it_ends_after_a_time_of_grace(tmp_path: Path, old: Authority, rotation: Rotation) -> None:
    """The successor is left alone; the old key stays as after `ca create --force`."""
    before = old.path.read_bytes()
    advance(tmp_path, SWITCH)
    assert advance(tmp_path, SWITCH + 29 * DAY) is not None
    assert advance(tmp_path, SWITCH + 31 * DAY) is None
    assert load(tmp_path).certificate == rotation.successor.certificate
    kept = f"{FILE_NAME}.{SWITCH:%Y%m%dT%H%M%SZ}.old"
    assert names(tmp_path) == {FILE_NAME, kept}
    assert (tmp_path / kept).read_bytes() == before


def test_what_was_down_at_the_date_does_it_later(tmp_path: Path, rotation: Rotation) -> None:
    """At once where the time of grace is over as well."""
    assert advance(tmp_path, SWITCH + 100 * DAY) is None
    assert load(tmp_path).certificate == rotation.successor.certificate


def test_the_date_can_be_moved(tmp_path: Path, old: Authority, rotation: Rotation) -> None:
    """Later, or to now, which is due at once."""
    later = move(tmp_path, SWITCH + DAY, now=NOW)
    assert later.switch == SWITCH + DAY
    assert later.successor == rotation.successor
    assert advance(tmp_path, SWITCH) == later
    move(tmp_path, SWITCH, now=SWITCH)
    assert advance(tmp_path, SWITCH) is not None
    assert load(tmp_path).certificate != old.certificate


def test_an_announcement_can_be_undone(tmp_path: Path, old: Authority, rotation: Rotation) -> None:
    """The successor is gone with its key; another may be announced."""
    assert abort(tmp_path) == rotation
    assert names(tmp_path) == {FILE_NAME}
    assert load(tmp_path) == old
    assert announce(tmp_path, now=NOW).successor.fingerprint != rotation.successor.fingerprint


@pytest.mark.parametrize("days_left", [1000, 20, 2])
def test_the_usual_date(tmp_path: Path, days_left: int) -> None:
    """In thirty days, or a day before the old one ends."""
    old = create(tmp_path, now=NOW)
    then = old.expires - days_left * DAY
    rotation = announce(tmp_path, now=then)
    assert rotation.switch == then + min(30, days_left - 1) * DAY
    assert rotation.ends <= old.expires


def test_permitted_names(tmp_path: Path) -> None:
    """They go over to the successor, unless others are asked for."""
    create(tmp_path, permit=["a.example"], now=NOW)
    assert announce(tmp_path, now=NOW).successor.permitted == ("a.example",)
    abort(tmp_path)
    rotation = announce(tmp_path, permit=["b.example"], now=NOW)
    assert rotation.successor.permitted == ("b.example",)
    also = rotation.successor.constraints
    for wanted in (["a.example"], ["b.example"]):
        assert ensure(tmp_path, permit=wanted, now=NOW, also=also)[0] == rotation.predecessor
    with pytest.raises(AuthorityError, match=r"permits a\.example, not c\.example"):
        ensure(tmp_path, permit=["c.example"], now=NOW, also=also)


def test_one_tells_the_successor_by_its_date(rotation: Rotation) -> None:
    """It begins later, even where both were made in one second."""
    old, new = rotation.predecessor.certificate, rotation.successor.certificate
    assert new.not_valid_before_utc > old.not_valid_before_utc


def test_private(tmp_path: Path, rotation: Rotation) -> None:
    """Nobody else reads the successor's key."""
    assert rotation.successor.path == tmp_path / "next-ca.pem"
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("days", "message"), [(0, "must be after now"), (-1, "got "), (6 * 365, "in use expires")]
)
def test_dates_that_cannot_be(tmp_path: Path, old: Authority, days: int, message: str) -> None:
    """A switch in the past, or when the old one is not valid any more."""
    with pytest.raises(ValueError, match=message):
        announce(tmp_path, switch=NOW + days * DAY, now=NOW)
    assert names(tmp_path) == {FILE_NAME}
    assert load(tmp_path) == old


def test_one_at_a_time(tmp_path: Path, rotation: Rotation) -> None:
    """What is under way is moved or undone, not begun again; once done it stays done."""
    with pytest.raises(AuthorityError, match="--abort undoes it"):
        announce(tmp_path, now=NOW)
    advance(tmp_path, rotation.switch)
    with pytest.raises(AuthorityError, match="was changed on"):
        announce(tmp_path, now=SWITCH)
    with pytest.raises(AuthorityError, match="was changed on"):
        move(tmp_path, SWITCH + DAY, now=SWITCH)
    with pytest.raises(AuthorityError, match="was changed on"):
        abort(tmp_path)


def test_nothing_under_way(tmp_path: Path, old: Authority) -> None:
    """Then there is nothing to move or undo, and nothing is due."""
    assert advance(tmp_path, NOW) is None
    with pytest.raises(AuthorityError, match="no rotation is under way"):
        abort(tmp_path)
    with pytest.raises(AuthorityError, match="no rotation is under way"):
        move(tmp_path, SWITCH, now=NOW)
    assert names(tmp_path) == {FILE_NAME}
    assert load(tmp_path) == old


def test_no_folder(tmp_path: Path) -> None:
    """Looking makes none; announcing says that there is no authority."""
    assert advance(tmp_path / "ca", NOW) is None
    assert not (tmp_path / "ca").exists()
    with pytest.raises(AuthorityError, match="there is no authority in"):
        announce(tmp_path / "ca", now=NOW)


def test_another_authority_ends_it(tmp_path: Path, rotation: Rotation) -> None:
    """`ca create --force` in the middle: what was announced counts no more."""
    made = create(tmp_path, now=NOW, force=True)
    assert advance(tmp_path, rotation.switch) is None
    assert load(tmp_path) == made
    assert not {"rotation.json", "next-ca.pem"} & names(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"predecessor": 1}', "\xff"])
def test_damage_is_said_and_undone(tmp_path: Path, rotation: Rotation, text: str) -> None:
    """The file is put away by --abort; the authority in use is not touched."""
    (tmp_path / "rotation.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(AuthorityError, match="--abort` removes it"):
        advance(tmp_path, SWITCH)
    abort(tmp_path)
    assert names(tmp_path) == {FILE_NAME}
    assert load(tmp_path) == rotation.predecessor


def test_a_lost_successor_is_said(tmp_path: Path, rotation: Rotation) -> None:
    """Its file is gone, or is another's."""
    rotation.successor.path.unlink()
    with pytest.raises(AuthorityError, match="there is no authority in"):
        advance(tmp_path, SWITCH)
    rotation.successor.path.write_bytes(rotation.predecessor.path.read_bytes())
    rotation.successor.path.chmod(0o600)
    with pytest.raises(AuthorityError, match="not what was announced"):
        advance(tmp_path, SWITCH)


def test_what_clients_are_given(tmp_path: Path, old: Authority, rotation: Rotation) -> None:
    """One certificate; two while a rotation is under way, that in use first; never a key."""
    assert announcement(old, None) == old.certificate_pem
    for state in (rotation, advance(tmp_path, SWITCH)):
        assert state is not None
        text = announcement(state.in_use, state)
        first, second = x509.load_pem_x509_certificates(text)
        assert first == state.in_use.certificate
        assert {first, second} == {old.certificate, rotation.successor.certificate}
        assert b"PRIVATE" not in text  # what is shorter may be in base64 by chance
        assert max(map(len, text.splitlines())) <= 110


KILL = """
import os, sys
from datetime import datetime
from pathlib import Path
from entrepot_ca import abort, advance, announce

OPERATIONS = {"open", "os.rename", "os.link", "os.remove", "os.chmod", "os.mkdir"}
step, folder, now = sys.argv[1], sys.argv[2], datetime.fromisoformat(sys.argv[3])
left = int(sys.argv[4])

def audit(event, arguments):
    global left
    if event in OPERATIONS and str(arguments[0]).startswith(folder):
        left -= 1
        if left == 0:
            os._exit(9)

sys.addaudithook(audit)
if step == "abort":
    abort(Path(folder))
elif step == "announce":
    announce(Path(folder), now=now)
else:
    advance(Path(folder), now)
"""
ENDED = NOW + 70 * DAY


def is_killed(step: str, folder: Path, now: datetime, number: int) -> bool:
    """Do a step, killed at its `number`-th operation on files; whether it came to that."""
    words = (step, str(folder), now.isoformat(), str(number))
    done = subprocess.run([sys.executable, "-c", KILL, *words], check=False, timeout=60)
    assert done.returncode in {0, 9}
    return done.returncode == 9


def prepared(step: str, folder: Path) -> tuple[Authority, Rotation | None]:
    """Bring a folder to where a step begins; the authorities that there are."""
    old = create(folder, now=NOW)
    rotation = None if step == "announce" else announce(folder, switch=SWITCH, now=NOW)
    if step == "end":
        advance(folder, SWITCH)
    return old, rotation


@pytest.mark.parametrize(
    ("step", "when"), [("announce", NOW), ("abort", NOW), ("switch", SWITCH), ("end", ENDED)]
)
def test_a_kill_leaves_it_undone_or_done(tmp_path: Path, step: str, when: datetime) -> None:
    """At whichever operation: what is there is valid, and the step can be done (again)."""
    number, killed = 0, True
    while killed:
        number += 1
        folder = tmp_path / str(number)
        old, rotation = prepared(step, folder)
        killed = is_killed(step, folder, when, number)
        left = Rotation.read(folder)
        in_use = load(folder, now=NOW).certificate
        if left is not None:
            assert in_use == left.in_use.certificate
            assert rotation is None or left.successor.certificate == rotation.successor.certificate
        if step in {"announce", "abort"}:
            assert in_use == old.certificate
        if step == "announce" and left is None:
            announce(folder, now=NOW)
        elif step == "abort" and left is not None:
            abort(folder)
        after = advance(folder, when)
        assert (after is None) is (step in {"abort", "end"})
        assert (load(folder).certificate == old.certificate) is (step in {"announce", "abort"})
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert number > 3

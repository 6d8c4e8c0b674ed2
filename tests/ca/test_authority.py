"""The authority: it is made once, loaded, kept while clients trust it, and described."""

import re
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from entrepot_ca import FILE_NAME, AuthorityError, create, describe, ensure, load

NOW = datetime.now(UTC).replace(microsecond=0)


def test_fingerprint(tmp_path: Path) -> None:
    """The fingerprint is the one that openssl prints."""
    authority = create(tmp_path / "authority", now=NOW)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.certificate_pem)
    command = ("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(ca))
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert shown.strip().endswith("=" + authority.fingerprint)


@pytest.mark.parametrize(
    ("days_left", "warned"), [(31, False), (30, True), (1, True), (0, True), (-1, True)]
)
def test_expires_within(tmp_path: Path, days_left: int, *, warned: bool) -> None:
    """The last thirty days are told apart, and so is the time after."""
    authority = create(tmp_path, now=NOW)
    then = authority.expires - timedelta(days=days_left)
    assert authority.expires_within(then, 30) is warned


def test_no_overwriting(tmp_path: Path) -> None:
    """An existing authority is not overwritten."""
    before = create(tmp_path, now=NOW)
    with pytest.raises(FileExistsError, match="already"):
        create(tmp_path, now=NOW)
    assert load(tmp_path) == before


def test_force(tmp_path: Path) -> None:
    """With force the old one stays beside the new one, as private as before."""
    old = create(tmp_path, now=NOW).path.read_bytes()
    new = create(tmp_path, now=NOW, force=True)
    kept = tmp_path / f"{FILE_NAME}.{NOW:%Y%m%dT%H%M%SZ}.old"
    assert kept.read_bytes() == old
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert load(tmp_path) == new


def test_load(tmp_path: Path) -> None:
    """What was created is what is loaded."""
    created = create(tmp_path, permit=["b.example", "A.example", "192.0.2.7"], now=NOW)
    assert load(tmp_path, now=NOW) == created
    assert created.permitted == ("a.example", "b.example", "192.0.2.7")


def test_expired(tmp_path: Path) -> None:
    """An expired authority is refused by those who say what time it is."""
    authority = create(tmp_path, now=NOW)
    with pytest.raises(AuthorityError, match="expired on"):
        load(tmp_path, now=authority.expires)


def test_ensure_creates_once(tmp_path: Path) -> None:
    """The first start creates, the second takes what is there."""
    first, created = ensure(tmp_path, now=NOW)
    assert created
    assert ensure(tmp_path, now=NOW) == (first, False)


def test_ensure_keeps_constraints(tmp_path: Path) -> None:
    """Who says nothing about names gets the constraints that are there."""
    create(tmp_path, permit=["a.example"], now=NOW)
    assert ensure(tmp_path, now=NOW)[0].permitted == ("a.example",)


@pytest.mark.parametrize("was", [[], ["a.example"], ["b.example"]])
def test_ensure_other_names(tmp_path: Path, was: list[str]) -> None:
    """Other constraints than those asked for are an error that says what to run."""
    create(tmp_path, permit=was, now=NOW)
    command = "entrepot ca create --permit a.example --permit b.example --force"
    with pytest.raises(AuthorityError, match=command):
        ensure(tmp_path, permit=["b.example", "a.example"], now=NOW)


@pytest.mark.parametrize(
    ("days_left", "remark"), [(100, " UTC\n"), (20, r"\(in 20 days"), (-1, r"\(EXPIRED\)")]
)
def test_describe(tmp_path: Path, days_left: int, remark: str) -> None:
    """The description has path, fingerprint, expiry and constraints."""
    authority = create(tmp_path, permit=["a.example"], now=NOW)
    text = describe(authority, authority.expires - timedelta(days=days_left))
    for part in (str(authority.path), authority.fingerprint, f"{authority.expires:%Y-%m-%d}"):
        assert part in text
    assert re.search(remark, text)
    assert text.endswith("a.example")

"""install.sh while the proxy changes its authority: it takes both certificates, and no other one.

The rule: a certificate is taken whose fingerprint was given, or for which one vouches whose was.
"""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from entrepot_ca import Rotation, advance, announce, announcement, create

if TYPE_CHECKING:
    from ca.conftest import Answering, Machine

INSTALL = Path(__file__).parents[2] / "ca" / "install.sh"
NOW = datetime.now(UTC)
STORE = "/etc/pki/ca-trust/source/anchors"
ANCHOR, NEXT = f"{STORE}/entrepot.crt", f"{STORE}/entrepot-next.crt"
BUNDLE = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"


@pytest.fixture
def client(machine: "Machine") -> "Machine":
    """A machine with a trust store, and openssl."""
    machine.write(f"{STORE}/company.crt", "company\n")
    machine.program("update-ca-trust", f"cat {STORE}/*.crt >{BUNDLE}")
    machine.write(BUNDLE, "")
    assert machine.inside("update-ca-trust").returncode == 0
    machine.offer("openssl")
    return machine


@pytest.fixture
def rotation(tmp_path: Path) -> Rotation:
    """Announced in `tmp_path/ca`."""
    create(tmp_path / "ca", now=NOW)
    return announce(tmp_path / "ca", switch=NOW + timedelta(days=7), now=NOW)


@pytest.fixture
def given(tmp_path: Path, rotation: Rotation) -> Path:
    """What the proxy gives while the successor is announced."""
    path = tmp_path / "given.pem"
    path.write_bytes(announcement(rotation.in_use, rotation))
    return path


def switched(tmp_path: Path) -> bytes:
    """What it gives after the switch."""
    after = advance(tmp_path / "ca", NOW + timedelta(days=8))
    assert after is not None
    return announcement(after.in_use, after)


def old(rotation: Rotation) -> tuple[str, ...]:
    return ("--fingerprint", rotation.predecessor.fingerprint)


def new(rotation: Rotation) -> tuple[str, ...]:
    return ("--fingerprint", rotation.successor.fingerprint)


def both(rotation: Rotation) -> tuple[str, ...]:
    return old(rotation) + new(rotation)


def none(_: Rotation) -> tuple[str, ...]:
    return ()


Given = Callable[[Rotation], tuple[str, ...]]


@pytest.mark.parametrize("words", [old, new, both, none])
def test_both_are_installed(
    client: "Machine", given: Path, rotation: Rotation, words: Given
) -> None:
    """With either fingerprint, since each vouches for the other; all of it is undone again."""
    before = client.listing()
    done = client.run(INSTALL, "install", "--file", str(given), *words(rotation))
    assert done.returncode == 0, done.stderr
    assert client.at(ANCHOR).read_bytes() == rotation.predecessor.certificate_pem
    assert client.at(NEXT).read_bytes() == rotation.successor.certificate_pem
    bundle = client.at(BUNDLE).read_bytes()
    assert rotation.predecessor.certificate_pem in bundle
    assert rotation.successor.certificate_pem in bundle
    assert ("NOT VERIFIED" in done.stdout) is (words is none)
    checked = client.run(INSTALL, "check", "--file", str(given), *words(rotation))
    assert checked.returncode == 0, checked.stdout
    again = client.listing()
    client.run(INSTALL, "install", "--file", str(given), *words(rotation))
    assert client.listing() == again
    assert client.run(INSTALL, "uninstall").returncode == 0
    assert client.listing() == before


def test_over_the_network(
    client: "Machine", given: Path, rotation: Rotation, answering: "Answering"
) -> None:
    """Who only checks asks by another address, so that the proxy does not take it for ready."""
    client.offer("curl")
    text = given.read_bytes()
    with answering({"/ca.pem": text, "/ca.pem?check": text}) as address:
        words = ("--url", f"http://{address}", *old(rotation))
        assert client.run(INSTALL, "install", *words).returncode == 0
    with answering({"/ca.pem?check": text}) as address:
        assert client.run(INSTALL, "check", "--url", f"http://{address}").returncode == 0


def test_docker_only(client: "Machine", given: Path, rotation: Rotation) -> None:
    """Both, into docker's folder."""
    before = client.listing()
    words = ("--file", str(given), *old(rotation))
    client.run(INSTALL, "install", *words, "--docker-only", "ghcr.io")
    folder = "/etc/docker/certs.d/ghcr.io"
    assert client.at(f"{folder}/entrepot.crt").exists()
    assert client.at(f"{folder}/entrepot-next.crt").exists()
    assert client.run(INSTALL, "check", *words).returncode == 0
    client.run(INSTALL, "uninstall")
    assert client.listing() == before


@pytest.mark.parametrize("words", [old, new])
def test_after_the_switch(
    client: "Machine", given: Path, rotation: Rotation, tmp_path: Path, words: Given
) -> None:
    """Nothing has to be done; a line of before still works, and then takes the old one away."""
    client.run(INSTALL, "install", "--file", str(given), *old(rotation))
    given.write_bytes(switched(tmp_path))
    checked = client.run(INSTALL, "check", "--file", str(given))
    assert checked.returncode == 0, checked.stdout
    assert "not needed any more, install again removes it" in checked.stdout
    done = client.run(INSTALL, "install", "--file", str(given), *words(rotation))
    assert done.returncode == 0, done.stderr
    assert client.at(ANCHOR).read_bytes() == rotation.successor.certificate_pem
    assert not client.at(NEXT).exists()
    assert rotation.predecessor.certificate_pem not in client.at(BUNDLE).read_bytes()


def test_after_an_abort(client: "Machine", given: Path, rotation: Rotation) -> None:
    """What is not announced any more is taken away."""
    client.run(INSTALL, "install", "--file", str(given), *old(rotation))
    given.write_bytes(rotation.predecessor.certificate_pem)
    assert client.run(INSTALL, "install", "--file", str(given), *old(rotation)).returncode == 0
    assert not client.at(NEXT).exists()


def test_check_misses_the_next(client: "Machine", given: Path, rotation: Rotation) -> None:
    """Who has the old one alone is told what is missing: status 1."""
    only = given.with_name("only.pem")
    only.write_bytes(rotation.predecessor.certificate_pem)
    client.run(INSTALL, "install", "--file", str(only))
    checked = client.run(INSTALL, "check", "--file", str(given), *old(rotation))
    assert checked.returncode == 1
    assert "lacks the certificate that the proxy is about to change to" in checked.stdout
    assert rotation.successor.fingerprint in checked.stdout


def test_without_openssl(machine: "Machine", given: Path, rotation: Rotation) -> None:
    """Then one fingerprint is good for one certificate, and two are for both."""
    machine.write(f"{STORE}/company.crt", "company\n")
    machine.program("update-ca-trust", f"cat {STORE}/*.crt >{BUNDLE}")
    machine.write(BUNDLE, "")
    before = machine.listing()
    done = machine.run(INSTALL, "install", "--file", str(given), *old(rotation))
    assert done.returncode == 0
    assert "LEFT OUT" in done.stdout
    assert machine.at(ANCHOR).exists()
    assert not machine.at(NEXT).exists()
    machine.run(INSTALL, "uninstall")
    refused = machine.run(INSTALL, "install", "--file", str(given), *new(rotation))
    assert refused.returncode == 1
    assert "give both fingerprints" in refused.stderr
    assert machine.at(ANCHOR).exists() is False
    done = machine.run(INSTALL, "install", "--file", str(given), *both(rotation))
    assert done.returncode == 0
    assert machine.at(NEXT).exists()
    # And what was taken stays where one fingerprint alone is given later.
    machine.run(INSTALL, "install", "--file", str(given), *old(rotation))
    assert machine.at(NEXT).exists()
    assert before


def forged_without_a_word(rotation: Rotation, stranger: Rotation) -> bytes:
    return rotation.predecessor.certificate_pem + stranger.successor.certificate_pem


def forged_with_the_words_of_others(rotation: Rotation, stranger: Rotation) -> bytes:
    """Vouched for by an authority that nobody here trusts."""
    text = announcement(stranger.in_use, stranger)
    return text.replace(stranger.predecessor.certificate_pem, rotation.predecessor.certificate_pem)


def forged_with_true_words(rotation: Rotation, stranger: Rotation) -> bytes:
    """The words are those of the true ones; the certificate is not."""
    text = announcement(rotation.in_use, rotation)
    return text.replace(rotation.successor.certificate_pem, stranger.successor.certificate_pem)


def forged_first(rotation: Rotation, stranger: Rotation) -> bytes:
    """The stranger's signs; the true one is said to follow."""
    return stranger.predecessor.certificate_pem + rotation.predecessor.certificate_pem


@pytest.mark.parametrize(
    "forge",
    [
        forged_without_a_word,
        forged_with_the_words_of_others,
        forged_with_true_words,
        forged_first,
    ],
)
def test_no_other_is_taken(
    client: "Machine",
    rotation: Rotation,
    tmp_path: Path,
    forge: Callable[[Rotation, Rotation], bytes],
) -> None:
    """Whoever answers in the proxy's place gets nothing installed beside what was asked for.

    Not even where it has an authority that the machine trusts for something else.
    """
    create(tmp_path / "stranger", now=NOW)
    stranger = announce(tmp_path / "stranger", now=NOW)
    file = tmp_path / "forged.pem"
    file.write_bytes(forge(rotation, stranger))
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(stranger.predecessor.certificate_pem)
    named = client.inside("openssl", "x509", "-noout", "-hash", "-in", str(trusted)).stdout.strip()
    client.write(f"/etc/trusted/{named}.0", trusted.read_bytes())
    client.variables = {"SSL_CERT_FILE": str(trusted), "SSL_CERT_DIR": "/etc/trusted"}
    before = client.listing()
    refused = client.run(INSTALL, "install", "--file", str(file), *old(rotation))
    assert refused.returncode == 1
    assert "Nothing was done." in refused.stderr
    assert client.listing() == before


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_count(client: "Machine", rotation: Rotation, tmp_path: Path, count: int) -> None:
    """One certificate or two different ones."""
    file = tmp_path / "many.pem"
    one, two = rotation.predecessor.certificate_pem, rotation.successor.certificate_pem
    file.write_bytes((b"", one + one, b"", one + two + one)[count])
    refused = client.run(INSTALL, "install", "--file", str(file))
    assert refused.returncode == 1
    assert "exactly one" in refused.stderr


@pytest.mark.skipif(
    shutil.which("update-ca-certificates") is None, reason="update-ca-certificates is not installed"
)
@pytest.mark.parametrize("machine", ["dash"], indirect=True)
def test_nothing_is_left_of_debians_store(
    machine: "Machine", given: Path, rotation: Rotation
) -> None:
    """Debian's own command takes both, and forgets the one that is not announced any more."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert machine.inside("update-ca-certificates", "--fresh", path=path).returncode == 0
    before = machine.listing()
    done = machine.run(INSTALL, "install", "--file", str(given), *old(rotation), path=path)
    assert done.returncode == 0, done.stderr
    bundle = machine.at("/etc/ssl/certs/ca-certificates.crt").read_bytes()
    assert rotation.successor.certificate_pem in bundle
    given.write_bytes(rotation.predecessor.certificate_pem)
    machine.run(INSTALL, "install", "--file", str(given), path=path)
    bundle = machine.at("/etc/ssl/certs/ca-certificates.crt").read_bytes()
    assert rotation.successor.certificate_pem not in bundle
    assert not machine.at("/etc/ssl/certs/entrepot-next.pem").is_symlink()
    machine.run(INSTALL, "uninstall", path=path)
    assert machine.listing() == before

"""The file of the authority: private, whole, enough for mitmproxy; and what is refused."""

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mitmproxy.certs import CertStore

from entrepot_ca import FILE_NAME, AuthorityError, create, load

if TYPE_CHECKING:
    from ca.conftest import Serving

NOW = datetime.now(UTC).replace(microsecond=0)


def test_file_is_enough(tmp_path: Path, serving: "Serving") -> None:
    """The proxy starts on a folder with our file alone and leaves it as it is."""
    create(tmp_path, now=NOW)
    before = (tmp_path / FILE_NAME).read_bytes()
    with serving(tmp_path, "registry.example.com"):
        assert (tmp_path / FILE_NAME).read_bytes() == before


def test_private(tmp_path: Path) -> None:
    """Only the owner can read the key or look into its folder, whatever the umask."""
    mask = os.umask(0)
    try:
        path = create(tmp_path / "a" / "b", now=NOW).path
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_no_other_file(tmp_path: Path) -> None:
    """Nothing but the authority is in the folder, though an earlier process was killed there."""
    (tmp_path / f"{FILE_NAME}.new").write_text("half a k")
    create(tmp_path, now=NOW)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def spoil_missing(path: Path) -> None:
    path.unlink()


def spoil_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def spoil_text(path: Path) -> None:
    path.write_text("hello\n")


def spoil_key(path: Path) -> None:
    path.write_bytes(load(path.parent).certificate_pem)


def spoil_certificate(path: Path) -> None:
    path.write_bytes(path.read_bytes().partition(b"-----BEGIN CERT")[0])


def spoil_halves(path: Path) -> None:
    key = path.read_bytes().partition(b"-----BEGIN CERT")[0]
    path.write_bytes(key + create(path.parent, now=NOW, force=True).certificate_pem)


def spoil_damage(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"PRIVATE KEY-----\nMI", b"PRIVATE KEY-----\nAA", 1))


def spoil_mode(path: Path) -> None:
    path.chmod(0o640)


def spoil_leaf(path: Path) -> None:
    """Put a leaf with its key where a root should be."""
    store = CertStore.from_store(path.parent, "mitmproxy", 2048)
    key = path.read_bytes().partition(b"-----BEGIN CERT")[0]
    path.write_bytes(key + store.get_cert("a.example", []).cert.to_pem())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_missing, "there is no authority in"),
        (spoil_folder, "cannot read"),
        (spoil_text, "not a PEM file"),
        (spoil_key, "holds no private key"),
        (spoil_certificate, "holds no certificate"),
        (spoil_halves, "is not the key of the certificate"),
        (spoil_damage, "private key in .* cannot be read"),
        (spoil_mode, "run `chmod 600 "),
        (spoil_leaf, "not a certificate authority"),
    ],
)
def test_load_refused(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    """What cannot be used is refused in one line that says why."""
    spoil(create(tmp_path, now=NOW).path)
    with pytest.raises(AuthorityError, match=message) as refusal:
        load(tmp_path)
    assert "\n" not in str(refusal.value)

"""The authority: its file, its refusals, and that real TLS clients agree with it about names."""

import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.certs import CertStore

from entrepot_ca import (
    FILE_NAME,
    AuthorityError,
    Constraints,
    create,
    describe,
    ensure,
    load,
)

if TYPE_CHECKING:
    from ca.conftest import Serving

NOW = datetime.now(UTC).replace(microsecond=0)


def run(*command: str, ca: Path) -> subprocess.CompletedProcess[str]:
    """Run a client that trusts `ca` alone and knows of no proxy."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(ca.parent), "SSL_CERT_FILE": str(ca)}
    environment |= {"SSL_CERT_DIR": "/nonexistent"}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, timeout=20
    )


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def python_accepts(host: str, port: int, ca: Path) -> bool:
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_connection(("127.0.0.1", port), 5) as raw:
        try:
            context.wrap_socket(raw, server_hostname=host).close()
        except ssl.SSLCertVerificationError:
            return False
    return True


def curl_accepts(host: str, port: int, ca: Path) -> bool:
    shown = f"[{host}]" if ":" in host else host
    target = f"{shown}:443:127.0.0.1:{port}"
    url = f"https://{shown}/"
    done = run("curl", "-sS", "--cacert", str(ca), "--connect-to", target, url, ca=ca)
    assert done.returncode in {0, 60}, done.stderr
    return done.returncode == 0


def wget_accepts(host: str, port: int, ca: Path) -> bool:
    command = ("wget", "-nv", "-O-", f"--ca-certificate={ca}", f"https://{host}:{port}/")
    done = run(*command, ca=ca)
    assert done.returncode in {5, 8}, done.stderr  # TLS verification failure; a 404
    return done.returncode == 8


def skopeo_accepts(host: str, port: int, ca: Path) -> bool:
    done = run("skopeo", "inspect", f"docker://{host}:{port}/a/b:1", ca=ca)
    refused = "x509: " in done.stderr
    assert refused or "404" in done.stderr, done.stderr
    return not refused


# permit, host, accepted
BY_ANY_NAME = [
    ((), "registry.example.com", True),
    ((), "192.0.2.7", True),
    ((), "2001:db8::7", True),
    (("example.com",), "example.com", True),
    (("example.com",), "registry.example.com", True),
    (("example.com",), "badexample.com", False),
    (("example.com",), "example.com.evil.test", False),
    (("example.com",), "example.org", False),
    (("example.com",), "192.0.2.7", False),
    (("example.com",), "2001:db8::7", False),
    (("example.com", "192.0.2.7"), "192.0.2.7", True),
    (("example.com", "192.0.2.7"), "192.0.2.8", False),
    (("example.com", "192.0.2.7"), "2001:db8::7", False),
    (("example.com", "192.0.2.7"), "registry.example.com", True),
    (("192.0.2.7",), "example.com", False),
    (("2001:db8::7",), "2001:db8::7", True),
    (("2001:db8::7",), "2001:db8::8", False),
    (("2001:db8::7",), "192.0.2.7", False),
    (("2001:db8::7",), "example.com", False),
]
# For the clients that cannot be told where a name is.
ON_LOOPBACK = [
    ((), "localhost", True),
    ((), "127.0.0.1", True),
    (("localhost",), "localhost", True),
    (("localhost",), "127.0.0.1", False),
    (("example.com",), "localhost", False),
    (("127.0.0.1",), "127.0.0.1", True),
    (("127.0.0.1",), "localhost", False),
    (("192.0.2.7",), "127.0.0.1", False),
    (("::1",), "127.0.0.1", False),
]


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    """Where the test writes the certificate that its client trusts."""
    return tmp_path / "ca.pem"


@pytest.mark.parametrize(("permit", "host", "accepted"), BY_ANY_NAME)
def test_strict_openssl(
    serving: "Serving",
    tmp_path: Path,
    ca: Path,
    permit: tuple[str, ...],
    host: str,
    *,
    accepted: bool,
) -> None:
    """OpenSSL in its strict mode accepts mitmproxy's leaves for the permitted hosts only."""
    ca.write_bytes(create(tmp_path / "ca", permit=permit, now=NOW).certificate_pem)
    with serving(tmp_path / "ca", host) as port:
        assert python_accepts(host, port, ca) is accepted


@needs("curl")
@pytest.mark.parametrize(("permit", "host", "accepted"), BY_ANY_NAME[:8])
def test_curl(
    serving: "Serving",
    tmp_path: Path,
    ca: Path,
    permit: tuple[str, ...],
    host: str,
    *,
    accepted: bool,
) -> None:
    """So does curl."""
    ca.write_bytes(create(tmp_path / "ca", permit=permit, now=NOW).certificate_pem)
    with serving(tmp_path / "ca", host) as port:
        assert curl_accepts(host, port, ca) is accepted


@needs("wget")
@pytest.mark.parametrize(("permit", "host", "accepted"), ON_LOOPBACK)
def test_wget(
    serving: "Serving",
    tmp_path: Path,
    ca: Path,
    permit: tuple[str, ...],
    host: str,
    *,
    accepted: bool,
) -> None:
    """So does wget, which on Debian is GnuTLS."""
    ca.write_bytes(create(tmp_path / "ca", permit=permit, now=NOW).certificate_pem)
    with serving(tmp_path / "ca", host) as port:
        assert wget_accepts(host, port, ca) is accepted


@needs("skopeo")
@pytest.mark.parametrize(("permit", "host", "accepted"), ON_LOOPBACK)
def test_skopeo(
    serving: "Serving",
    tmp_path: Path,
    ca: Path,
    permit: tuple[str, ...],
    host: str,
    *,
    accepted: bool,
) -> None:
    """So does skopeo, whose verifier is Go's, as docker's and containerd's is."""
    ca.write_bytes(create(tmp_path / "ca", permit=permit, now=NOW).certificate_pem)
    with serving(tmp_path / "ca", host) as port:
        assert skopeo_accepts(host, port, ca) is accepted


@pytest.mark.parametrize(("permit", "host", "accepted"), BY_ANY_NAME + ON_LOOPBACK)
def test_permits(tmp_path: Path, permit: tuple[str, ...], host: str, *, accepted: bool) -> None:
    """`permits` foretells what the clients do."""
    create(tmp_path, permit=permit, now=NOW)
    assert load(tmp_path).permits(host) is accepted


def test_file_is_enough(tmp_path: Path, serving: "Serving") -> None:
    """The proxy starts on a folder with our file alone and leaves it as it is."""
    create(tmp_path, now=NOW)
    before = (tmp_path / FILE_NAME).read_bytes()
    with serving(tmp_path, "registry.example.com"):
        assert (tmp_path / FILE_NAME).read_bytes() == before


def test_fingerprint(tmp_path: Path, ca: Path) -> None:
    """The fingerprint is the one that openssl prints."""
    authority = create(tmp_path, now=NOW)
    ca.write_bytes(authority.certificate_pem)
    command = ("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(ca))
    assert run(*command, ca=ca).stdout.strip().endswith("=" + authority.fingerprint)


def test_five_years(tmp_path: Path) -> None:
    """A root lives five years."""
    assert create(tmp_path, now=NOW).expires == NOW + timedelta(days=5 * 365)


@pytest.mark.parametrize(
    ("days_left", "warned"), [(31, False), (30, True), (1, True), (0, True), (-1, True)]
)
def test_expires_within(tmp_path: Path, days_left: int, *, warned: bool) -> None:
    """The last thirty days are told apart, and so is the time after."""
    authority = create(tmp_path, now=NOW)
    then = authority.expires - timedelta(days=days_left)
    assert authority.expires_within(then, 30) is warned


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


def test_each_its_own(tmp_path: Path) -> None:
    """Two authorities share neither key nor subject nor serial number."""
    one, two = (create(tmp_path / name, now=NOW).certificate for name in "ab")
    assert one.public_key() != two.public_key()
    assert one.subject != two.subject
    assert one.serial_number != two.serial_number


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


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", ".example.com", "*.example.com", "a..b", "a b", "-a.b", "é.fr", "10.0.0.300"),
        *("10.0.0.0/8", "https://a.b", "a.b:443", "a" * 64, "a." * 127 + "a"),
    ],
)
def test_permit_refused(tmp_path: Path, text: str) -> None:
    """What is neither a DNS name nor an address is quoted back, and nothing is written."""
    with pytest.raises(ValueError, match="want a DNS name") as refusal:
        create(tmp_path / "ca", permit=[text], now=NOW)
    assert repr(text) in str(refusal.value)
    assert not (tmp_path / "ca").exists()


@given(st.text())
def test_permit_any_text(text: str) -> None:
    """Any text is a name, an address or a ValueError; what is accepted permits itself."""
    try:
        constraints = Constraints.parse([text])
    except ValueError:
        return
    assert constraints.permits(text)


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

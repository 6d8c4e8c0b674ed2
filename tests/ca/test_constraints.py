"""Which names an authority may sign for: real TLS clients agree with it."""

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot_ca import Constraints, create, load

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


Accepts = Callable[[str, int, Path], bool]
Judge = Callable[[Accepts, tuple[str, ...], str], bool]


@pytest.fixture
def judge(serving: "Serving", tmp_path: Path) -> Judge:
    """Whether a client accepts a leaf for a host, made by an authority limited to some names."""

    def judged(accepts: Accepts, permit: tuple[str, ...], host: str) -> bool:
        ca = tmp_path / "ca.pem"
        ca.write_bytes(create(tmp_path / "ca", permit=permit, now=NOW).certificate_pem)
        with serving(tmp_path / "ca", host) as port:
            return accepts(host, port, ca)

    return judged


@pytest.mark.parametrize(("permit", "host", "accepted"), BY_ANY_NAME)
def test_strict_openssl(
    judge: Judge, permit: tuple[str, ...], host: str, *, accepted: bool
) -> None:
    """OpenSSL in its strict mode accepts mitmproxy's leaves for the permitted hosts only."""
    assert judge(python_accepts, permit, host) is accepted


@needs("curl")
@pytest.mark.parametrize(("permit", "host", "accepted"), BY_ANY_NAME[:8])
def test_curl(judge: Judge, permit: tuple[str, ...], host: str, *, accepted: bool) -> None:
    """So does curl."""
    assert judge(curl_accepts, permit, host) is accepted


@needs("wget")
@pytest.mark.parametrize(("permit", "host", "accepted"), ON_LOOPBACK)
def test_wget(judge: Judge, permit: tuple[str, ...], host: str, *, accepted: bool) -> None:
    """So does wget, which on Debian is GnuTLS."""
    assert judge(wget_accepts, permit, host) is accepted


@needs("skopeo")
@pytest.mark.parametrize(("permit", "host", "accepted"), ON_LOOPBACK)
def test_skopeo(judge: Judge, permit: tuple[str, ...], host: str, *, accepted: bool) -> None:
    """So does skopeo, whose verifier is Go's, as docker's and containerd's is."""
    assert judge(skopeo_accepts, permit, host) is accepted


@pytest.mark.parametrize(("permit", "host", "accepted"), BY_ANY_NAME + ON_LOOPBACK)
def test_permits(tmp_path: Path, permit: tuple[str, ...], host: str, *, accepted: bool) -> None:
    """`permits` foretells what the clients do."""
    create(tmp_path, permit=permit, now=NOW)
    assert load(tmp_path).permits(host) is accepted


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

"""Whose certificates the proxy believes, by real handshakes."""

import socket
import ssl
import threading
from pathlib import Path

import pytest
from OpenSSL import crypto

from entrepot.http_client.connect.trust_store import Roots
from rig.certs import Authority

NAME = "registry.example.test"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def shakes_hands(context: ssl.SSLContext, authority: Authority, name: str = NAME) -> bool:
    """Whether a client with ``context`` accepts a server with a leaf of ``authority``."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server = authority.issue(NAME).server_context()
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        context.wrap_socket(ours, server_hostname=name).close()
    except ssl.SSLCertVerificationError:
        return False
    finally:
        ours.close()
        thread.join()
    return True


def test_the_extra_file_is_trusted_beside_the_bundle(authority: Authority, tmp_path: Path) -> None:
    """Certificates of either file are accepted."""
    other = Authority(tmp_path / "other")
    context = Roots(bundle=other.pem, folder=None, extra=authority.pem).context()
    assert shakes_hands(context, authority)
    assert shakes_hands(context, other)


def test_another_authority_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    """A certificate of nobody's roots ends the handshake."""
    other = Authority(tmp_path / "other")
    assert not shakes_hands(Roots(bundle=other.pem, folder=None).context(), authority)


def test_no_roots_trust_nobody(authority: Authority) -> None:
    """Without any file every certificate is refused; verification is never off."""
    assert not shakes_hands(Roots(None, None).context(), authority)


def test_the_name_must_fit(authority: Authority) -> None:
    """A trusted certificate of another host is refused."""
    context = Roots(authority.pem, None).context()
    assert not shakes_hands(context, authority, name="other.example.test")


def test_old_tls_is_refused(authority: Authority) -> None:
    """TLS 1.2 is the least."""
    context = Roots(authority.pem, None).context()
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_the_os_store_is_found_as_openssl_finds_it(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE names the bundle."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    roots = Roots.find()
    assert roots.bundle == authority.pem
    assert shakes_hands(roots.context(), authority)


def test_a_folder_of_hashed_names_is_trusted(authority: Authority, tmp_path: Path) -> None:
    """OpenSSL's other form of a store counts too."""
    name = f"{crypto.X509.from_cryptography(authority.certificate).subject_name_hash():08x}.0"
    (tmp_path / name).write_bytes(authority.pem.read_bytes())
    assert shakes_hands(Roots(None, tmp_path).context(), authority)


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\x30\x82\x01\x00"])
def test_an_extra_file_without_certificates_is_refused(
    tmp_path: Path, content: bytes | None
) -> None:
    """The error names the file, before anything runs."""
    file = tmp_path / "extra.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"extra\.pem.*want PEM certificates"):
        Roots.find(file)


def test_all_roots_make_one_file(authority: Authority, tmp_path: Path) -> None:
    """The one file for mitmproxy trusts what ours do, even where a file has no last newline."""
    other = Authority(tmp_path / "other")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(other.pem.read_bytes().rstrip())
    everything = tmp_path / "everything.pem"
    everything.write_bytes(Roots(bundle, None, authority.pem).pem())
    context = Roots(everything, None).context()
    assert shakes_hands(context, authority)
    assert shakes_hands(context, other)

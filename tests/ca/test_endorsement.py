"""Endorsements: who trusts one authority can have the other checked, and nobody can misuse that."""

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from entrepot_ca import FILE_NAME, Rotation, announce, create

NOW = datetime.now(UTC).replace(microsecond=0)


def verified(folder: Path, trusted: bytes, endorsement: bytes) -> bool:
    """Ask openssl, as a client does."""
    (folder / "trusted.pem").write_bytes(trusted)
    pem = x509.load_der_x509_certificate(endorsement).public_bytes(Encoding.PEM)
    (folder / "endorsement.pem").write_bytes(pem)
    files = ("-CAfile", str(folder / "trusted.pem"), str(folder / "endorsement.pem"))
    done = subprocess.run(["openssl", "verify", *files], check=False, capture_output=True)
    return done.returncode == 0


def rotation(folder: Path) -> Rotation:
    create(folder, permit=["a.example"], now=NOW)
    return announce(folder, permit=["b.example"], now=NOW)


def foreign(folder: Path) -> Rotation:
    """Replace what the administrator brought along: an RSA root with few extensions."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca.corp.example")])
    root = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    folder.mkdir()
    (folder / FILE_NAME).write_bytes(secret + root.public_bytes(Encoding.PEM))
    (folder / FILE_NAME).chmod(0o600)
    return announce(folder, now=NOW)


@pytest.mark.parametrize("make", [rotation, foreign])
def test_each_vouches_for_the_other(tmp_path: Path, make: Callable[[Path], Rotation]) -> None:
    """By the key of the one and a signature of the other; nobody else's counts."""
    made = make(tmp_path / "ca")
    old, new = made.predecessor, made.successor
    stranger = create(tmp_path / "stranger", now=NOW)
    for by, endorsed, endorsement in (
        (old, new, made.successor_endorsed),
        (new, old, made.predecessor_endorsed),
    ):
        key = x509.load_der_x509_certificate(endorsement).public_key()
        assert key == endorsed.certificate.public_key()
        assert verified(tmp_path, by.certificate_pem, endorsement)
        assert not verified(tmp_path, endorsed.certificate_pem, endorsement)
        assert not verified(tmp_path, stranger.certificate_pem, endorsement)


def test_it_is_good_for_nothing_else(tmp_path: Path) -> None:
    """No authority, and the certificate of no host."""
    certificate = x509.load_der_x509_certificate(rotation(tmp_path / "ca").successor_endorsed)
    extensions = certificate.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)

"""Certificate authorities of the tests, and leaf certificates for any names."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_HOUR = dt.timedelta(hours=1)
_MONTH = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate (followed by nothing: the authority is a root) and its key, as PEM files."""

    cert: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """Return a TLS server context that presents this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context

    def asking_context(self, clients: Path, *, insist: bool = False) -> ssl.SSLContext:
        """Return one that asks its clients for a certificate of `clients`, an authority."""
        context = self.server_context()
        context.verify_mode = ssl.CERT_REQUIRED if insist else ssl.CERT_OPTIONAL
        context.load_verify_locations(clients)
        return context


class Authority:
    """An EC P-256 root in a folder of its own; `pem` is what a client has to trust."""

    def __init__(self, folder: Path, name: str = "Rig upstream CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.name = name
        self.pem = folder / "ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._self_signed()
        self.pem.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        *names: str,
        life: dt.timedelta = _MONTH,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    ) -> Leaf:
        """Return a leaf for `names` (DNS names or IP addresses), its files named by the first.

        A negative `life` makes one that has ended.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        builder = (
            _dated(x509.CertificateBuilder(), life)
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        leaf = Leaf(self.folder / f"{names[0]}.pem", self.folder / f"{names[0]}.key")
        leaf.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        leaf.key.write_bytes(_private_pem(key))
        return leaf

    def private_pem(self) -> bytes:
        """Return the authority's own key, for a proxy that signs with it."""
        return _private_pem(self._key)

    def client_context(self) -> ssl.SSLContext:
        """Return a TLS client context that trusts this authority and no other."""
        return ssl.create_default_context(cafile=str(self.pem))

    def _self_signed(self) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        public = self._key.public_key()
        return (
            _dated(x509.CertificateBuilder(), dt.timedelta(days=60))
            .subject_name(self._subject)
            .issuer_name(self._subject)
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _dated(builder: x509.CertificateBuilder, life: dt.timedelta) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now + min(life, dt.timedelta()) - _HOUR)
        .not_valid_after(now + life)
    )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    return [_general_name(name) for name in names]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

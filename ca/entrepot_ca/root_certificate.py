"""The self-signed root certificate: what is in it, and which certificates are accepted as one.

A root is EC P-256, lives five years, signs leaves only (path length 0) and for TLS servers only.
Its key is also the key of every leaf: that is how mitmproxy works. The leaves carry no key usage
of their own, so the root needs none beyond signing.
"""

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from entrepot_ca.constraints import Constraints

LIFETIME: Final = timedelta(days=5 * 365)
# As far as mitmproxy backdates its leaves: a client's clock may be that slow.
BACKDATED: Final = timedelta(days=2)

_SIGNING_ONLY: Final = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a private key for `self_signed`."""
    return ec.generate_private_key(ec.SECP256R1())


def self_signed(
    key: ec.EllipticCurvePrivateKey,
    constraints: Constraints,
    now: datetime,
    after: datetime | None = None,
) -> x509.Certificate:
    """Make a root certificate as RFC 5280 section 4.2.1 wants it of a conforming authority.

    It is valid from a moment later than `after` on: by that one knows which of two roots followed
    the other.
    """
    begin = now - BACKDATED
    if after is not None:
        begin = max(begin, after + timedelta(seconds=1))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _subject(identifier)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNING_ONLY, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
    )
    if constraints != Constraints():
        builder = builder.add_extension(constraints.extension(), critical=True)
    return builder.sign(key, hashes.SHA256())


def _subject(identifier: x509.SubjectKeyIdentifier) -> x509.Name:
    """Name the root in ASCII, and so that one tells it from another proxy's by eye."""
    common_name = f"Entrepot local CA {identifier.digest[:4].hex()}"
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Entrepot"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def is_issuer(certificate: x509.Certificate) -> bool:
    """Whether verifiers accept it as the issuer of leaves: RFC 5280 sections 4.2.1.9 and 4.2.1.3.

    That is a certificate authority whose key usage, if it states one, includes signing.
    """
    try:
        extensions = certificate.extensions
        is_authority = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return is_authority
    return is_authority and usage.key_cert_sign

"""An endorsement: one authority vouches for another's key, so that who trusts one may trust both.

It is a certificate: the key that is vouched for, signed by the authority that vouches. Nobody can
use it for more: it is no authority and names no host. A root of ours could have none below it in a
chain anyway (path length 0, which OpenSSL, GnuTLS and Go all enforce).

Whether a key is vouched for shows by the key alone. Whatever else our authorities sign carries
their own key, since mitmproxy's leaves do; so no client can have a leaf made that would pass for
this.
"""

from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from entrepot_ca.pem_file import PrivateKey
from entrepot_ca.root_certificate import BACKDATED

# Blanks, so that nobody takes it for the name of a host.
_SUBJECT: Final = x509.Name(
    [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Entrepot"),
        x509.NameAttribute(NameOID.COMMON_NAME, "An authority that this one vouches for"),
    ]
)


def endorse(
    by: x509.Certificate, key: PrivateKey, endorsed: x509.Certificate, now: datetime
) -> bytes:
    """Let the authority `by`, whose key is `key`, vouch for that of `endorsed`; gives DER."""
    issuer_key = x509.SubjectKeyIdentifier.from_public_key(by.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_SUBJECT)
        .issuer_name(by.subject)
        .public_key(endorsed.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - BACKDATED, by.not_valid_before_utc))
        .not_valid_after(by.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_identifier(by, issuer_key), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER)


def _key_identifier(
    by: x509.Certificate, otherwise: x509.SubjectKeyIdentifier
) -> x509.AuthorityKeyIdentifier:
    """How `by` names its own key: a root that somebody else made may do so in its own way."""
    try:
        found = by.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        found = otherwise
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)

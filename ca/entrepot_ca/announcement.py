"""What clients are given to trust: the certificate in use, and with it the other of a rotation.

The file is PEM, the certificate in use first. While a rotation is under way comments stand before
them (RFC 7468 section 5.2 lets parsers ignore such): when the change is, and the endorsements in
base64, each line behind who vouches for whom by the order in the file. ``1>2:`` is the first's word
for the second. ``scripts/client/certificate.sh`` reads that.
"""

import base64
import textwrap

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

from entrepot_ca.authority import Authority
from entrepot_ca.rotation import Rotation

_WIDTH = 64


def pkcs7(authority: Authority, rotation: Rotation | None) -> bytes:
    """Give the same certificates as PKCS #7 in DER, as Windows imports them."""
    given = [authority]
    if rotation is not None:
        given.append(rotation.predecessor if rotation.switched else rotation.successor)
    certificates = [one.certificate for one in given]
    return serialize_certificates(certificates, serialization.Encoding.DER)


def announcement(authority: Authority, rotation: Rotation | None) -> bytes:
    """Give the file for clients, without any key."""
    if rotation is None:
        return authority.certificate_pem
    first, second, words = rotation.predecessor, rotation.successor, "the second does from then on"
    endorsed = rotation.successor_endorsed, rotation.predecessor_endorsed
    until = f"{rotation.switch:%Y-%m-%d %H:%M} UTC"
    if rotation.switched:
        first, second, endorsed = second, first, endorsed[::-1]
        head = f"# The first of these certificates signs since {until}, the second did before."
    else:
        head = f"# Trust both: the first of these certificates signs until {until}, {words}."
    comments = [head, *_lines("1>2", endorsed[0]), *_lines("2>1", endorsed[1])]
    text = "".join(f"{line}\n" for line in comments).encode()
    return text + first.certificate_pem + second.certificate_pem


def _lines(who: str, endorsement: bytes) -> list[str]:
    return [
        f"# {who}: {line}" for line in textwrap.wrap(base64.b64encode(endorsement).decode(), _WIDTH)
    ]

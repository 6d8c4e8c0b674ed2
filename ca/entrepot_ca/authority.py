"""The root certificate and its key, in the one file that mitmproxy reads.

The rules:

- The file is ``mitmproxy-ca.pem``: the key, then the certificate. Beside it mitmproxy keeps only a
  file of Diffie-Hellman parameters.
- The key is never readable by others, not even while it is written, and a kill at any moment leaves
  the old authority or the new one, whole.
- A root is EC P-256, lives five years, signs leaves only (path length 0) and for TLS servers only.
  Its key is also the key of every leaf: that is how mitmproxy works. The leaves carry no key usage
  of their own, so the root needs none beyond signing.
- Nothing is overwritten unless asked, and then the old authority stays beside the new one.
"""

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from entrepot_ca.constraints import Constraints

FILE_NAME: Final = "mitmproxy-ca.pem"
LIFETIME: Final = timedelta(days=5 * 365)
# As far as mitmproxy backdates its leaves: a client's clock may be that slow.
BACKDATED: Final = timedelta(days=2)
WARN_DAYS: Final = 30


class AuthorityError(Exception):
    """The authority cannot be used; the message is one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A root that can sign: where it is and what clients see of it."""

    path: Path
    certificate: x509.Certificate
    constraints: Constraints

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate as ``openssl x509 -fingerprint -sha256`` prints it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def expires(self) -> datetime:
        """The last moment at which clients accept it, in UTC."""
        return self.certificate.not_valid_after_utc

    @property
    def permitted(self) -> tuple[str, ...]:
        """The DNS names and IP addresses it is limited to; empty = any."""
        return self.constraints.permitted

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone, for clients."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def permits(self, host: str) -> bool:
        """Whether clients accept its certificate for `host`: a DNS name or a bare IP address."""
        return self.constraints.permits(host)

    def expires_within(self, now: datetime, days: float = WARN_DAYS) -> bool:
        """Whether it expires within so many days of `now`, or has expired."""
        return self.expires <= now + timedelta(days=days)


def create(
    folder: Path, *, permit: Iterable[str] = (), now: datetime, force: bool = False
) -> Authority:
    """Make a new authority in `folder`, limited to the names in `permit` if there are any.

    Raises FileExistsError where there is one already, unless `force`: then that one is kept as
    ``mitmproxy-ca.pem.<UTC time>.old``. Raises ValueError for an unusable name in `permit`.
    """
    constraints = Constraints.parse(permit)
    now = now.astimezone(UTC)
    path = folder / FILE_NAME
    with _locked(folder) as descriptor:
        if path.exists() and not force:
            raise FileExistsError(
                f"there is an authority in {path} already, which clients may trust; to replace it "
                "all the same, run `entrepot ca create --force`"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _root(key, constraints, now)
        temporary = path.with_name(FILE_NAME + ".new")
        _write_secret(
            temporary, _key_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)
        )
        if path.exists():
            path.with_name(f"{FILE_NAME}.{now:%Y%m%dT%H%M%SZ}.old").hardlink_to(path)
        temporary.rename(path)
        os.fsync(descriptor)
    return Authority(path, certificate, constraints)


def load(folder: Path, *, now: datetime | None = None) -> Authority:
    """Read the authority in `folder`; with `now`, one that has expired is refused.

    Raises AuthorityError.
    """
    path = folder / FILE_NAME
    raw = _read_secret(path)
    certificate = _certificate(raw, path)
    if _private_key(raw, path).public_key() != certificate.public_key():
        raise AuthorityError(f"the key in {path} is not the key of the certificate in it")
    _require_root(certificate, path)
    authority = Authority(path, certificate, Constraints.of(certificate))
    if now is not None and authority.expires <= now:
        raise AuthorityError(
            f"the authority in {path} expired on {authority.expires:%Y-%m-%d}: run "
            "`entrepot ca create --force` and install the new certificate on the clients"
        )
    return authority


def ensure(folder: Path, *, permit: Iterable[str] = (), now: datetime) -> tuple[Authority, bool]:
    """Load the authority in `folder`, or create it on the first start; say whether it was created.

    Raises AuthorityError for one that cannot be used or that `permit` contradicts; without `permit`
    the constraints of an existing one stand. Raises ValueError for an unusable name in `permit`.
    """
    wanted = Constraints.parse(permit).permitted
    if not (folder / FILE_NAME).exists():
        # Two proxies that start at once on one folder: the later one takes what the first made.
        with suppress(FileExistsError):
            return create(folder, permit=wanted, now=now), True
    authority = load(folder, now=now)
    if wanted and wanted != authority.permitted:
        options = " ".join(f"--permit {name}" for name in wanted)
        raise AuthorityError(
            f"the authority in {authority.path} permits {_names(authority)}, not "
            f"{', '.join(wanted)}: run `entrepot ca create {options} --force` and install the new "
            "certificate on the clients"
        )
    return authority, False


def describe(authority: Authority, now: datetime) -> str:
    """Describe it for people: path, fingerprint, expiry, constraints, a line each."""
    remark = ""
    if authority.expires <= now:
        remark = " (EXPIRED)"
    elif authority.expires_within(now):
        remark = f" (in {(authority.expires - now).days} days: replace it)"
    return "\n".join(
        (
            f"path:         {authority.path}",
            f"subject:      {authority.certificate.subject.rfc4514_string()}",
            f"fingerprint:  {authority.fingerprint}",
            f"expires:      {authority.expires:%Y-%m-%d %H:%M} UTC{remark}",
            f"permits:      {_names(authority)}",
        )
    )


def _names(authority: Authority) -> str:
    return ", ".join(authority.permitted) or "any name"


def _root(
    key: ec.EllipticCurvePrivateKey, constraints: Constraints, now: datetime
) -> x509.Certificate:
    """Self-sign a root as RFC 5280 section 4.2.1 wants it of a conforming authority."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # ASCII, and told apart from the root of another proxy by eye.
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Entrepot"),
            x509.NameAttribute(
                NameOID.COMMON_NAME, f"Entrepot local CA {identifier.digest[:4].hex()}"
            ),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNING_ONLY, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
    )
    if constraints != Constraints():
        builder = builder.add_extension(constraints.extension(), critical=True)
    return builder.sign(key, hashes.SHA256())


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


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Make the folder private and hold it against another process that creates; yields its fd."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_secret(path: Path, data: bytes) -> None:
    """Write a new file that only its owner could ever read, down to the disk.

    What is there already was left by a kill (the caller holds the lock), and goes.
    """
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _read_secret(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read()
    except FileNotFoundError:
        raise AuthorityError(
            f"there is no authority in {path}: `entrepot serve` makes one when it first starts, "
            "`entrepot ca create` at once"
        ) from None
    except OSError as error:
        raise AuthorityError(f"cannot read the authority {path}: {error.strerror}") from error
    if mode & 0o066:
        raise AuthorityError(
            f"others can read or change the key in {path} (mode {mode:04o}): run `chmod 600 {path}`"
        )
    return raw


def _certificate(raw: bytes, path: Path) -> x509.Certificate:
    """Parse the first certificate, which is the one that mitmproxy signs with."""
    if b"-----BEGIN " not in raw:
        raise AuthorityError(f"{path} is not a PEM file")
    try:
        return x509.load_pem_x509_certificates(raw)[0]
    except ValueError as error:
        raise AuthorityError(f"{path} holds no certificate that can be read") from error


def _private_key(raw: bytes, path: Path) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if b"PRIVATE KEY-----" not in raw:
        raise AuthorityError(f"{path} holds no private key")
    try:
        key = serialization.load_pem_private_key(raw, None)
    except TypeError as error:
        raise AuthorityError(f"the key in {path} is encrypted: want it plain") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuthorityError(f"the private key in {path} cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise AuthorityError(f"the key in {path} is of a kind mitmproxy cannot use: want EC or RSA")
    return key


def _require_root(certificate: x509.Certificate, path: Path) -> None:
    """Refuse a certificate that verifiers do not accept as an issuer."""
    try:
        extensions = certificate.extensions
        is_authority = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        is_authority = False
    if is_authority:
        try:
            usage = extensions.get_extension_for_class(x509.KeyUsage).value
            is_authority = usage.key_cert_sign
        except x509.ExtensionNotFound:
            pass
    if not is_authority:
        raise AuthorityError(f"the certificate in {path} is not a certificate authority")

"""The certificate authority that clients trust and mitmproxy signs with: make, load, describe it.

An existing authority is not replaced unless asked, because clients trust it; then the old file
stays beside the new one. What is in the certificate is in ``root_certificate``, what is on the
disk in ``pem_file``, for which names it may sign in ``constraints``.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from entrepot_ca import pem_file
from entrepot_ca.constraints import Constraints
from entrepot_ca.pem_file import FILE_NAME, AuthorityError
from entrepot_ca.root_certificate import is_issuer, new_key, self_signed

WARN_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority that can sign: where its file is, and what clients see of it."""

    path: Path
    certificate: x509.Certificate
    constraints: Constraints

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate as ``openssl x509 -fingerprint -sha256`` prints it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def expires(self) -> datetime:
        """The last moment at which clients accept it (notAfter), in UTC."""
        return self.certificate.not_valid_after_utc

    @property
    def permitted(self) -> tuple[str, ...]:
        """The DNS names and IP addresses it is limited to; empty = any."""
        return self.constraints.permitted

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM, without the key, for clients to trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def certificate_der(self) -> bytes:
        """The same in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

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
    with pem_file.locked(folder) as descriptor:
        if path.exists() and not force:
            raise FileExistsError(
                f"there is an authority in {path} already, which clients may trust; to replace it "
                "all the same, run `entrepot ca create --force`"
            )
        key = new_key()
        certificate = self_signed(key, constraints, now)
        old = path.with_name(f"{FILE_NAME}.{now:%Y%m%dT%H%M%SZ}.old")
        pem_file.write(descriptor, path, key, certificate, old)
    return Authority(path, certificate, constraints)


def load(folder: Path, *, now: datetime | None = None) -> Authority:
    """Read the authority in `folder`; with `now`, one that has expired is refused.

    Raises AuthorityError.
    """
    path = folder / FILE_NAME
    certificate = pem_file.read(path)
    if not is_issuer(certificate):
        raise AuthorityError(f"the certificate in {path} is not a certificate authority")
    authority = Authority(path, certificate, Constraints.of(certificate))
    if now is not None and authority.expires <= now:
        raise AuthorityError(
            f"the authority in {path} expired on {authority.expires:%Y-%m-%d}: run "
            "`entrepot ca create --force` and install the new certificate on the clients"
        )
    return authority


def ensure(
    folder: Path,
    *,
    permit: Iterable[str] = (),
    now: datetime,
    also: Constraints | None = None,
) -> tuple[Authority, bool]:
    """Load the authority in `folder`, or create it on the first start; say whether it was created.

    Raises AuthorityError for one that cannot be used or whose constraints are not those that
    `permit` asks for; without `permit` the constraints of an existing one stand. In a rotation
    `permit` may ask for those of the other authority as well, which are `also`. Raises ValueError
    for an unusable name in `permit`.
    """
    wanted = Constraints.parse(permit).permitted
    if not (folder / FILE_NAME).exists():
        # Two proxies that start at once on one folder: the later one takes what the first made.
        with suppress(FileExistsError):
            return create(folder, permit=wanted, now=now), True
    authority = load(folder, now=now)
    known = {authority.permitted} if also is None else {authority.permitted, also.permitted}
    if wanted and wanted not in known:
        options = " ".join(f"--permit {name}" for name in wanted)
        raise AuthorityError(
            f"the authority in {authority.path} permits {_names(authority)}, not "
            f"{', '.join(wanted)}: run `entrepot ca create {options} --force` and install the new "
            "certificate on the clients, or leave --permit away and let `entrepot ca rotate` "
            "change it without downtime"
        )
    return authority, False


def describe(authority: Authority, now: datetime) -> str:
    """Describe it for people: path, subject, fingerprint, expiry, name constraints, a line each."""
    remark = ""
    if authority.expires <= now:
        remark = " (EXPIRED)"
    elif authority.expires_within(now):
        remark = f" (in {(authority.expires - now).days} days: run `entrepot ca rotate`)"
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

"""The file that mitmproxy reads its authority from: the private key, then the root certificate.

It is ``mitmproxy-ca.pem``; beside it mitmproxy keeps only a file of Diffie-Hellman parameters.

- The key is never readable by others, not even while it is written.
- A kill at any moment leaves the old authority or the new one, whole.
- Nothing is overwritten: what the new file replaces stays beside it under another name.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

FILE_NAME: Final = "mitmproxy-ca.pem"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class AuthorityError(Exception):
    """The authority cannot be used, or not so; one line that says why and what to do."""


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the folder, made private, against another process that creates; yield its descriptor."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def write(
    folder: int,
    path: Path,
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
    old: Path | None = None,
) -> None:
    """Put key and certificate into `path`, down to the disk; what was there is renamed to `old`.

    `folder` is the descriptor that `locked` yields.
    """
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if old is not None and path.exists():
        old.hardlink_to(path)
    replace(folder, path, key.private_bytes(pem, *plain) + certificate.public_bytes(pem))


def replace(folder: int, path: Path, data: bytes) -> None:
    """Make `data` what is in the file, down to the disk, in one step, and private.

    `folder` is the descriptor that `locked` yields.
    """
    temporary = path.with_name(path.name + ".new")
    _write_secret(temporary, data)
    temporary.rename(path)
    os.fsync(folder)


def read(path: Path) -> x509.Certificate:
    """Read the root certificate, and see that its private key is with it and no other may read it.

    Raises AuthorityError.
    """
    raw = _read_secret(path)
    certificate = _certificate(raw, path)
    if _private_key(raw, path).public_key() != certificate.public_key():
        raise AuthorityError(f"the key in {path} is not the key of the certificate in it")
    return certificate


def read_key(path: Path) -> PrivateKey:
    """Read the private key of a file that `read` accepts. Raises AuthorityError."""
    return _private_key(_read_secret(path), path)


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
    """Read a file that others may neither read nor write."""
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


def _private_key(raw: bytes, path: Path) -> PrivateKey:
    """Parse the private key, which must be of a kind that mitmproxy signs with."""
    if b"PRIVATE KEY-----" not in raw:
        raise AuthorityError(f"{path} holds no private key")
    try:
        key = serialization.load_pem_private_key(raw, None)
    except TypeError as error:
        raise AuthorityError(f"the key in {path} is encrypted: want it plain") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuthorityError(f"the private key in {path} cannot be read") from error
    if not isinstance(key, PrivateKey):
        raise AuthorityError(f"the key in {path} is of a kind mitmproxy cannot use: want EC or RSA")
    return key

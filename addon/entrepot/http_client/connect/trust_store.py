"""Whose certificates the proxy itself believes: the OS trust store, and a CA file beside it.

The same roots serve both TLS clients towards upstream: ours (``ssl``) and mitmproxy's
(pyOpenSSL), which wants files. The store is found as OpenSSL finds it (``SSL_CERT_FILE``,
``SSL_CERT_DIR``, the built-in paths), else where the distributions keep it. This is what
``truststore`` does on Linux, without its two costs for a proxy: it reads the store again for
every connection, and holds one lock through every handshake, so that one stalled upstream
would stall them all.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu, Alpine, Arch
    Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),  # Fedora, RHEL
    Path("/etc/ssl/ca-bundle.pem"),  # SUSE
    Path("/etc/ssl/cert.pem"),
)


@dataclass(frozen=True, slots=True)
class Roots:
    """Where trusted certificates lie: a PEM bundle, a folder of hashed names, an extra file."""

    bundle: Path | None
    folder: Path | None
    extra: Path | None = None

    @classmethod
    def find(cls, extra: Path | None = None) -> "Roots":
        """The OS trust store of this machine, and ``extra``.

        Raises ValueError where a file is no readable one of PEM certificates.
        """
        paths = ssl.get_default_verify_paths()
        folder = Path(paths.capath) if paths.capath else None
        bundle = Path(paths.cafile) if paths.cafile else None
        bundle = bundle or next((path for path in _BUNDLES if path.is_file()), None)
        for file in (bundle, extra):
            if file is not None:
                _check(file)
        return cls(bundle, folder, extra)

    def context(self) -> ssl.SSLContext:
        """A TLS client context that verifies names and certificates against these roots."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.equip(context)
        return context

    def equip(self, context: ssl.SSLContext) -> None:
        """Make a TLS client context trust these roots."""
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for file in (self.bundle, self.extra):
            if file is not None:
                context.load_verify_locations(cafile=file)
        if self.folder is not None:
            context.load_verify_locations(capath=self.folder)

    def pem(self) -> bytes:
        """Every certificate of the bundle and the extra file, for a client that wants one file."""
        return b"\n".join(file.read_bytes() for file in (self.bundle, self.extra) if file)


def _check(file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        reason = "no certificate in it"
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
    else:
        return
    raise ValueError(f"CA file {str(file)!r}: {reason}; want PEM certificates")

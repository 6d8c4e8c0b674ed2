"""How a client is sent through a proxy (nothing but environment variables), or kept from one."""

from dataclasses import dataclass
from pathlib import Path

from rig.command import with_file

_SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True)
class Route:
    """A proxy URL, if any, and a file of certificates to trust instead of the system's.

    `within` are words before a client's command: where it runs.
    """

    proxy_url: str
    ca_file: Path
    within: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        return {
            "HTTP_PROXY": self.proxy_url,
            "HTTPS_PROXY": self.proxy_url,
            "NO_PROXY": "127.0.0.1,localhost",
            "SSL_CERT_FILE": str(self.ca_file),
        }


@dataclass(frozen=True, slots=True)
class Direct:
    """No proxy, as a client of a mirror has it, and no DNS: no registry's name leads anywhere."""

    folder: Path

    def environment(self) -> dict[str, str]:
        return {}

    @property
    def within(self) -> tuple[str, ...]:
        """Words before a client's command."""
        empty = self.folder / "resolv.conf"
        empty.touch()
        return tuple(with_file("/etc/resolv.conf", empty))


@dataclass(frozen=True, slots=True)
class KnownNames:
    """No proxy; these names lead to this machine, where the client trusts what `ca_file` signed.

    `then` are words after those that make it so: where the client runs.
    """

    folder: Path
    ca_file: Path
    names: tuple[str, ...]
    then: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        return {"SSL_CERT_FILE": str(self.ca_file)}

    @property
    def within(self) -> tuple[str, ...]:
        """Words before a client's command."""
        hosts = self.folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {' '.join(self.names)}\n")
        return (*with_file("/etc/hosts", hosts), *self.then)


def bundle(path: Path, *authorities: bytes) -> Path:
    """Write the system's authorities and these (PEM) to `path`; return it."""
    system = _SYSTEM_BUNDLE.read_bytes() if _SYSTEM_BUNDLE.exists() else b""
    path.write_bytes(b"\n".join([system, *authorities]))
    return path

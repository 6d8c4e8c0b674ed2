"""What the registry protocol names: digests, tags, repositories and the origins that hold them.

Every type checks itself when built, so a value that exists is well-formed and in its one
spelling; it may be compared, used as a key or put into a URL as it is. Grammar: distribution-spec
v1.1.1 "Pulling manifests" and image-spec "Digests"; host names: RFC 1123 with the underscore that
real DNS names have.
"""

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

_HEX = {
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "sha512": re.compile(r"[0-9a-f]{128}"),
}
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_COMPONENT = r"[A-Za-z0-9]+(?:(?:\.|_|__|-+)[A-Za-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_NAME_LENGTH = 255

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HOST_LENGTH = 253
# What getaddrinfo would take for an IPv4 address in one of its legacy spellings (127.1, 0x7f.1).
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_HOST_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_URL = re.compile(r"https?://([^/@?#\s]+)/?", re.IGNORECASE)


class Hasher(Protocol):
    """The part of a hashlib object that verifying needs."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in more bytes."""

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far, in lower-case hex."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A content address, `sha256:<64 hex>` or `sha512:<128 hex>`; no other algorithm is trusted."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        pattern = _HEX.get(self.algorithm)
        if pattern is None or not pattern.fullmatch(self.hex):
            raise ValueError(
                "expected sha256: and 64 or sha512: and 128 lower-case hex digits, "
                f"got {f'{self.algorithm}:{self.hex}'!r}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `algorithm:hex`; ValueError for anything else."""
        algorithm, _, digits = text.partition(":")
        return cls(algorithm, digits)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """Return the digest of these bytes."""
        if algorithm not in _HEX:
            raise ValueError(f"expected the algorithm sha256 or sha512, got {algorithm!r}")
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @property
    def raw(self) -> bytes:
        """The bytes that `hex` spells; their number tells the algorithm."""
        return bytes.fromhex(self.hex)

    def hasher(self) -> Hasher:
        """Return a new hashlib object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """A mutable name of a manifest in its repository."""

    name: str

    def __post_init__(self) -> None:
        if not _TAG.fullmatch(self.name):
            raise ValueError(
                "expected a tag: 1 to 128 letters, digits, '_', '.', '-', "
                f"not starting with '.' or '-'; got {self.name!r}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a tag; ValueError for anything else."""
        return cls(text)

    def __str__(self) -> str:
        return self.name


Reference: TypeAlias = Tag | Digest


def parse_reference(text: str) -> Reference:
    """Read what stands after `manifests/`: a digest where it has a colon, else a tag."""
    return Digest.parse(text) if ":" in text else Tag.parse(text)


def is_repository_name(text: str) -> bool:
    """Whether this is a `<name>` of the distribution-spec, of at most 255 characters.

    Or one with upper-case letters, which registries of models have (``quirks``). Case counts.
    """
    return len(text) <= _NAME_LENGTH and _NAME.fullmatch(text) is not None


def parse_host(text: str) -> str:
    """Return a host name or IP literal in its one spelling, IPv6 without brackets.

    Lower-case, no trailing dot, addresses compressed. ValueError for all else, for zone ids, and
    for legacy IPv4 spellings (`127.1`, `0x7f000001`), which would be second names of one host.
    """
    host = text.lower() if text.isascii() else ""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            host = ""
    if ":" in host:
        return _parse_ipv6(host, text)
    host = host.removesuffix(".")
    if len(host) <= _HOST_LENGTH and _HOST.fullmatch(host):
        if not is_ip_address(host):
            return host
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            pass
    raise ValueError(f"expected a host name or an IP address, got {text!r}")


def _parse_ipv6(host: str, text: str) -> str:
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        pass
    else:
        if address.scope_id is None:
            return address.compressed
    raise ValueError(f"expected an IPv6 address without a zone, got {text!r}")


def is_ip_address(host: str) -> bool:
    """Whether a host that `parse_host` returned is an address and not a name."""
    return ":" in host or _NUMERIC_END.fullmatch(host) is not None


def parse_port(text: str) -> int:
    """Read a TCP port, 1 to 65535."""
    if not is_port(text):
        raise ValueError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)


def is_port(text: str) -> bool:
    """Whether a text is a TCP port."""
    return len(text) <= 5 and text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535


def bracketed(host: str) -> str:
    """Return the host as it stands in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """A host and perhaps a port, as an administrator lists registries."""

    host: str
    port: int | None = None

    def __post_init__(self) -> None:
        _check_host_port(self.host, self.port)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST[:PORT]`, IPv6 in brackets: `ghcr.io`, `localhost:5000`, `[::1]:5000`."""
        match = _HOST_PORT.fullmatch(text)
        if match is None:
            meant = _URL.fullmatch(text)
            hint = f", did you mean {meant[1]!r}?" if meant else ""
            raise ValueError(f"expected HOST[:PORT], IPv6 in brackets, got {text!r}{hint}")
        host, port = match.groups()
        return cls(parse_host(host), None if port is None else parse_port(port))

    def __str__(self) -> str:
        host = bracketed(self.host)
        return host if self.port is None else f"{host}:{self.port}"


def _check_host_port(host: str, port: int | None) -> None:
    if parse_host(host) != host:
        raise ValueError(f"expected a host in its lower-case, shortest form, got {host!r}")
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"expected a port from 1 to 65535, got {port!r}")


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Scheme, host and port of a server; the port is always said."""

    scheme: str
    host: str
    port: int

    def __post_init__(self) -> None:
        if self.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"expected the scheme http or https, got {self.scheme!r}")
        _check_host_port(self.host, self.port)

    @classmethod
    def make(cls, scheme: str, host: str, port: int) -> Self:
        """Build from parts in any spelling: upper case, a trailing dot, brackets."""
        return cls(scheme.lower(), parse_host(host), port)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `http[s]://HOST[:PORT]` with nothing before or after the authority."""
        scheme, separator, authority = text.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in _DEFAULT_PORTS:
            raise ValueError(f"expected http[s]://HOST[:PORT], got {text!r}")
        where = HostPort.parse(authority)
        return cls(scheme, where.host, where.port or _DEFAULT_PORTS[scheme])

    @property
    def authority(self) -> str:
        """`host` or `host:port`, as in a Host header: the scheme's default port left out."""
        host = bracketed(self.host)
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A named set of manifests and blobs at one origin: the unit of access."""

    origin: Origin
    name: str

    def __post_init__(self) -> None:
        if not is_repository_name(self.name):
            raise ValueError(
                "expected a repository name: letters and digits, single separators "
                f"and '/', at most {_NAME_LENGTH} characters; got {self.name!r}"
            )

    def __str__(self) -> str:
        return f"{self.origin.authority}/{self.name}"

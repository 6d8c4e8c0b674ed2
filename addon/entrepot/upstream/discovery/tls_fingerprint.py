"""What a client's ClientHello shows of the program that sent it: a short fingerprint.

Several clients may have one address: the containers of a machine, whatever is behind a NAT. Their
programs differ in the ClientHello (RFC 8446 section 4.1.2): each TLS library, and nearly each
version and configuration of one, offers other ciphers, extensions and groups. As with JA4
(https://github.com/FoxIO-LLC/ja4) only what a program says at each connection counts:

- the version; the ciphers in their order; the extensions that are there, as a set, since some
  libraries shuffle them; the groups, signature algorithms, versions, point formats and protocols
  (ALPN) in them;
- not the random numbers, the session and the key shares; not the extensions that come and go with
  the host or with a session that is resumed; not GREASE (RFC 8701), which is drawn by lot.

Two programs of one version look the same. A fingerprint is no proof of anything: nobody is given
anything by it but a tunnel.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Self

_NAME, _GROUPS, _POINTS, _ALGORITHMS, _PROTOCOLS, _VERSIONS = 0, 10, 11, 13, 16, 43
_PADDING, _ENCRYPT_THEN_MAC, _RECORD_SIZE_LIMIT, _TICKET = 21, 22, 28, 35
_STATUS_V2, _SHARED_KEY, _EARLY_DATA, _COOKIE, _CERTIFICATES_SIGNED, _TIMESTAMPS = (
    17,
    41,
    42,
    44,
    50,
    18,
)
"""Extensions, as IANA numbers them (TLS ExtensionType Values)."""

_PASSING = frozenset((_NAME, _PADDING, _TICKET, _SHARED_KEY, _EARLY_DATA, _COOKIE))
"""Extensions that one program sends at one connection and not at the next."""

_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells a client from others at its address."""

    digest: str
    """Twelve hexadecimal digits; none where the ClientHello could not be read."""
    library: str | None = None
    """The TLS library, where it is known by its habits: a guess."""

    @classmethod
    def of(cls, hello: bytes) -> Self:
        """The fingerprint of a ClientHello: the message without its head of four bytes."""
        try:
            read = _Hello.read(hello)
        except (ValueError, struct.error):
            return cls("")
        said = hashlib.sha256(repr(read).encode()).hexdigest()
        return cls(said[:_DIGITS], _library(read))

    def __str__(self) -> str:
        return f"{self.library}/{self.digest}" if self.library else self.digest


UNKNOWN = Fingerprint("")
"""That of a client of whom nothing was seen."""


@dataclass(frozen=True, slots=True)
class _Hello:
    """What a program says at each connection."""

    version: int
    ciphers: tuple[int, ...]
    extensions: tuple[int, ...]
    groups: tuple[int, ...]
    algorithms: tuple[int, ...]
    versions: tuple[int, ...]
    points: bytes
    protocols: bytes

    @classmethod
    def read(cls, hello: bytes) -> Self:
        """Take a ClientHello apart. Raises ValueError or ``struct.error`` where it is none."""
        at = 2 + 32  # the version and the random number
        _, at = _vector(hello, at, 1)
        ciphers, at = _vector(hello, at, 2)
        _, at = _vector(hello, at, 1)
        found = dict(_extensions(_vector(hello, at, 2)[0])) if at < len(hello) else {}
        return cls(
            int.from_bytes(hello[:2]),
            _codes(ciphers),
            tuple(sorted(kind for kind in found if kind not in _PASSING and not _is_grease(kind))),
            _codes(found.get(_GROUPS, b"")[2:]),
            _codes(found.get(_ALGORITHMS, b"")[2:]),
            _codes(found.get(_VERSIONS, b"")[1:]),
            found.get(_POINTS, b"")[1:],
            found.get(_PROTOCOLS, b""),
        )


def _vector(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    """The content of a vector whose length takes ``width`` bytes, and where it ends."""
    begin = at + width
    end = begin + int.from_bytes(data[at:begin])
    if not begin <= end <= len(data):
        raise ValueError("cut off")
    return data[begin:end], end


def _extensions(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        kind = int.from_bytes(data[at : at + 2])
        content, at = _vector(data, at + 2, 2)
        found.append((kind, content))
    return found


def _codes(data: bytes) -> tuple[int, ...]:
    """A list of numbers of 16 bits, without GREASE."""
    codes = struct.unpack(f"!{len(data) // 2}H", data)
    return tuple(code for code in codes if not _is_grease(code))


def _is_grease(code: int) -> bool:
    return code & 0x0F0F == 0x0A0A and code >> 8 == code & 0xFF


def _library(hello: _Hello) -> str | None:
    """Whose habits these are; each was seen with the library itself."""
    return None

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
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

_NAME, _STATUS, _GROUPS, _POINTS, _ALGORITHMS, _PROTOCOLS, _STATUS_2 = 0, 5, 10, 11, 13, 16, 17
_TIMESTAMPS, _PADDING, _SIZE_LIMIT, _TICKET, _SHARED_KEY, _EARLY_DATA = 18, 21, 28, 35, 41, 42
_VERSIONS, _COOKIE, _ALGORITHMS_CERTIFICATE = 43, 44, 50
"""Extensions, as IANA numbers them (TLS ExtensionType Values)."""

_CIPHERS_13, _CCM = (b"\x13\1", b"\x13\2", b"\x13\3"), b"\x13\4"
"""Ciphers of TLS 1.3 (RFC 8446 section B.4)."""

_TWICE = re.compile(rb"([\x0a\x1a\x2a\x3a\x4a\x5a\x6a\x7a\x8a\x9a\xaa\xba\xca\xda\xea\xfa])\1")
"""A number of GREASE, or the end of one number and the begin of the next."""

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
            said = _Said.read(hello)
        except ValueError:
            return cls("")
        return cls(_digest(said), _library(said))

    def __str__(self) -> str:
        return f"{self.library}/{self.digest}" if self.library else self.digest


UNKNOWN = Fingerprint("")
"""That of a client of whom nothing was seen."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a program says at each connection; numbers are of 16 bits, without GREASE."""

    version: bytes
    ciphers: bytes
    extensions: tuple[int, ...]
    groups: bytes
    algorithms: bytes
    versions: bytes
    points: bytes
    protocols: bytes

    @classmethod
    def read(cls, hello: bytes) -> Self:
        """Take a ClientHello apart. Raises ValueError where it is none."""
        at = 2 + 32  # the version and the random number
        _, at = _vector(hello, at, 1)
        ciphers, at = _vector(hello, at, 2)
        _, at = _vector(hello, at, 1)
        found = dict(_extensions(_vector(hello, at, 2)[0])) if at < len(hello) else {}
        return cls(
            hello[:2],
            _without_grease(ciphers),
            tuple(sorted(found.keys() - _PASSING)),
            _without_grease(found.get(_GROUPS, b"")[2:]),
            _without_grease(found.get(_ALGORITHMS, b"")[2:]),
            _without_grease(found.get(_VERSIONS, b"")[1:]),
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
        kind = data[at : at + 2]
        content, at = _vector(data, at + 2, 2)
        if not _TWICE.fullmatch(kind):
            found.append((int.from_bytes(kind), content))
    return found


def _without_grease(data: bytes) -> bytes:
    if not _TWICE.search(data):
        return data
    return b"".join(number for number in _numbers(data) if not _TWICE.fullmatch(number))


def _numbers(data: bytes) -> list[bytes]:
    return [data[at : at + 2] for at in range(0, len(data), 2)]


@lru_cache(256)
def _digest(said: _Said) -> str:
    return hashlib.sha256(repr(said).encode()).hexdigest()[:_DIGITS]


@lru_cache(256)
def _library(said: _Said) -> str | None:
    """Whose habits these are.

    Seen with Go (skopeo and podman of Debian 12), OpenSSL 3.0 and later (curl, Python, node,
    cargo), GnuTLS 3.7 (wget, git) and Java 17.
    """
    has = set(said.extensions)
    if said.ciphers[-2:] in _CIPHERS_13 and {_STATUS, _TIMESTAMPS} <= has:
        return "Go"
    if said.points == b"\0\1\2":
        return "OpenSSL"
    if _SIZE_LIMIT in has and _CCM in _numbers(said.ciphers):
        return "GnuTLS"
    return "Java" if {_STATUS_2, _ALGORITHMS_CERTIFICATE} <= has else None

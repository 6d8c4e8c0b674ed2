"""What a ClientHello shows: the same of one program each time, another of another."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrepot.upstream.discovery.tls_fingerprint import UNKNOWN, Fingerprint

GREASE = 0x3A3A


def hello_of(context: ssl.SSLContext, name: str = "ghcr.io") -> bytes:
    """The ClientHello that Python's TLS library sends."""
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()[5 + 4 :]


@dataclass(frozen=True)
class Hello:
    """A ClientHello, put together."""

    random: bytes = bytes(32)
    session: bytes = b""
    ciphers: tuple[int, ...] = (0x1301, 0xC02F)
    extensions: tuple[tuple[int, bytes], ...] = (
        (0, b"\0\x0a\0\0\x07ghcr.io"),
        (10, b"\0\4\0\x1d\0\x17"),
        (13, b"\0\4\4\3\x08\4"),
        (16, b"\0\x0c\2h2\x08http/1.1"),
        (43, b"\4\3\4\3\3"),
        (51, b"key"),
    )

    def without(self, kind: int) -> "Hello":
        return replace(self, extensions=tuple(e for e in self.extensions if e[0] != kind))

    def adding(self, *extensions: tuple[int, bytes]) -> "Hello":
        return replace(self, extensions=(*self.extensions, *extensions))

    def __bytes__(self) -> bytes:
        extensions = b"".join(k.to_bytes(2, "big") + _vector(2, v) for k, v in self.extensions)
        ciphers = b"".join(code.to_bytes(2, "big") for code in self.ciphers)
        head = b"\3\3" + self.random + _vector(1, self.session) + _vector(2, ciphers)
        return head + b"\1\0" + _vector(2, extensions)


def _vector(width: int, content: bytes) -> bytes:
    return len(content).to_bytes(width, "big") + content


PLAIN = Hello()


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, random=bytes(range(32)), session=bytes(32)),
        PLAIN.without(0),
        PLAIN.without(51).adding((51, b"another key, of another length")),
        PLAIN.adding((21, bytes(100)), (35, b"ticket"), (41, b"psk"), (42, b""), (44, b"cookie")),
        PLAIN.adding((GREASE, b"\0")),
        replace(PLAIN, ciphers=(GREASE, *PLAIN.ciphers)),
        PLAIN.without(10).adding((10, b"\0\6\x1a\x1a\0\x1d\0\x17")),
        replace(PLAIN, extensions=PLAIN.extensions[::-1]),
    ],
)
def test_what_comes_and_goes_does_not_count(other: Hello) -> None:
    """The host, the keys, a session that is resumed, GREASE, the order of extensions."""
    assert Fingerprint.of(bytes(other)) == Fingerprint.of(bytes(PLAIN))


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, ciphers=(0x1301,)),
        replace(PLAIN, ciphers=PLAIN.ciphers[::-1]),
        PLAIN.without(16),
        PLAIN.without(16).adding((16, b"\0\3\2h2")),
        PLAIN.adding((23, b"")),
        PLAIN.without(10).adding((10, b"\0\2\0\x1d")),
        PLAIN.without(13).adding((13, b"\0\2\4\3")),
        PLAIN.without(43).adding((43, b"\2\3\4")),
    ],
)
def test_what_a_program_is_made_of_counts(other: Hello) -> None:
    """Its ciphers in their order, extensions, protocols, groups, algorithms, versions."""
    assert Fingerprint.of(bytes(other)) != Fingerprint.of(bytes(PLAIN))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda _: None, True),
        (lambda context: context.set_alpn_protocols(["http/1.1"]), False),
        (lambda context: context.set_ciphers("ECDHE+AESGCM"), False),
    ],
)
def test_a_real_client_is_known_again(
    change: Callable[[ssl.SSLContext], None],
    same: bool,  # noqa: FBT001 a column of the table
) -> None:
    """OpenSSL's, for two hosts, and where its program sets it up otherwise."""
    plain, other = ssl.create_default_context(), ssl.create_default_context()
    change(other)
    first = Fingerprint.of(hello_of(plain))
    second = Fingerprint.of(hello_of(other, "a-much-longer-name.example.test"))
    assert (first == second) is same
    assert first.library == "OpenSSL"
    assert str(first) == f"OpenSSL/{first.digest}"


@pytest.mark.parametrize(
    ("hello", "library"),
    [
        (
            replace(PLAIN, ciphers=(0xC02F, 0x1301, 0x1302, 0x1303)).adding((5, b""), (18, b"")),
            "Go",
        ),
        (PLAIN.adding((11, b"\3\0\1\2"), (22, b"")), "OpenSSL"),
        (replace(PLAIN, ciphers=(0x1302, 0x1304)).adding((11, b"\1\0"), (28, b"")), "GnuTLS"),
        (PLAIN.adding((11, b"\1\0"), (17, b""), (50, b"\0\2\4\3")), "Java"),
        (PLAIN, None),
    ],
)
def test_a_library_is_known_by_its_habits(hello: Hello, library: str | None) -> None:
    """Which ciphers come last, which formats of points and which extensions it offers."""
    assert Fingerprint.of(bytes(hello)).library == library


@given(st.binary(max_size=200))
@example(bytes(PLAIN)[:60])
@example(bytes(replace(PLAIN, ciphers=()))[:-1])
def test_whatever_comes_is_read(hello: bytes) -> None:
    """What is no ClientHello looks like a client of whom nothing was seen, or like something."""
    found = Fingerprint.of(hello)
    assert found == UNKNOWN or len(found.digest) == 12

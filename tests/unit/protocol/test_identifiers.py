"""Digests, tags, repositories and origins: what they take, refuse and print."""

import contextlib
import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.protocol.identifiers import (
    Digest,
    HostPort,
    Origin,
    Repository,
    Tag,
    is_ip_address,
    is_repository_name,
    parse_host,
    parse_reference,
)

SHA256 = "sha256:" + "a" * 64
SHA512 = "sha512:" + "0" * 128
HUB = Origin("https", "registry-1.docker.io", 443)


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_digest_round_trips(text: str) -> None:
    """A digest prints as it was read."""
    assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "a" * 64 + "\n",
        " sha256:" + "a" * 64,
        "SHA256:" + "a" * 64,
        "sha256:" + "\N{ARABIC-INDIC DIGIT ONE}" * 64,
        "sha256:../" + "a" * 61,
        "sha512:" + "a" * 64,
        "sha256:" + "a" * 128,
        "sha1:" + "a" * 40,
        "md5:" + "a" * 32,
        "sha384:" + "a" * 96,
        "blake3:" + "a" * 64,
        "sha256+b64:" + "a" * 64,
    ],
)
def test_digest_refuses_all_else(text: str) -> None:
    """Only full lower-case sha256 and sha512 digests are digests; the error quotes the input."""
    with pytest.raises(ValueError, match="expected sha256: and 64") as caught:
        Digest.parse(text)
    assert repr(text)[1:-1] in str(caught.value)


def test_digest_of_bytes_is_what_its_hasher_computes() -> None:
    """`of` and `hasher` are the same function of the bytes."""
    for algorithm in ("sha256", "sha512"):
        digest = Digest.of(b"layer", algorithm)
        hasher = digest.hasher()
        hasher.update(b"lay")
        hasher.update(memoryview(b"er"))
        assert hasher.hexdigest() == digest.hex == hashlib.new(algorithm, b"layer").hexdigest()


def test_digest_of_refuses_a_weak_algorithm() -> None:
    """No digest is made with an algorithm that is not trusted."""
    with pytest.raises(ValueError, match="'md5'"):
        Digest.of(b"", "md5")


def test_digests_sort_and_hash() -> None:
    """Equal digests are one key, and digests have an order."""
    one, two = Digest.of(b"1"), Digest.of(b"2")
    assert {one, Digest.of(b"1")} == {one}
    assert sorted([two, one]) == sorted([one, two])


@pytest.mark.parametrize("text", ["latest", "v1.2.3-rc_1", "_", "0", "A" * 128])
def test_tag_round_trips(text: str) -> None:
    """A tag prints as it was read."""
    assert str(Tag.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", ".", "..", ".hidden", "-rf", "a" * 129, "a/b", "a b", "a\n", "é", "a%2fb", "a:b"]
)
def test_tag_refuses_all_else(text: str) -> None:
    """A tag that the specification's pattern does not match is an error."""
    with pytest.raises(ValueError, match="expected a tag"):
        Tag.parse(text)


def test_reference_with_a_colon_is_a_digest() -> None:
    """No tag has a colon and every digest has one."""
    assert parse_reference(SHA256) == Digest("sha256", "a" * 64)
    assert parse_reference("sha256") == Tag("sha256")
    with pytest.raises(ValueError, match="expected sha256"):
        parse_reference("sha256:latest")


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "library/nginx",
        "TheBloke/Llama-3.2-GGUF",
        "a/b/c/d",
        "a.b-c__d_e",
        "a---b",
        "0/1",
        "blobs/blobs",
        "a" * 255,
    ],
)
def test_repository_name_is_accepted(name: str) -> None:
    """Every `<name>` of the specification is a repository's."""
    assert is_repository_name(name)
    assert Repository(HUB, name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "a/../b",
        ".",
        "a..b",
        "a___b",
        "a._b",
        "-a",
        "a-",
        "a b",
        "a\n",
        "a%2fb",
        "ü",
        "a:b",
        "a" * 256,
    ],
)
def test_repository_name_is_refused(name: str) -> None:
    """What the grammar does not derive, or is longer than 255 characters, is no repository."""
    assert not is_repository_name(name)
    with pytest.raises(ValueError, match="expected a repository name"):
        Repository(HUB, name)


def test_repository_prints_host_and_name() -> None:
    """A repository prints as an image name does, the port where it is not the default."""
    assert str(Repository(HUB, "library/nginx")) == "registry-1.docker.io/library/nginx"
    assert str(Repository(Origin("http", "::1", 5000), "a")) == "[::1]:5000/a"


@pytest.mark.parametrize(
    ("text", "origin", "printed"),
    [
        ("https://ghcr.io", Origin("https", "ghcr.io", 443), "https://ghcr.io"),
        ("https://ghcr.io:443", Origin("https", "ghcr.io", 443), "https://ghcr.io"),
        ("HTTPS://GHCR.IO.", Origin("https", "ghcr.io", 443), "https://ghcr.io"),
        ("http://localhost:5000", Origin("http", "localhost", 5000), "http://localhost:5000"),
        ("http://a_b.internal:80", Origin("http", "a_b.internal", 80), "http://a_b.internal"),
        ("https://10.0.0.1:80", Origin("https", "10.0.0.1", 80), "https://10.0.0.1:80"),
        ("https://[::1]", Origin("https", "::1", 443), "https://[::1]"),
        ("https://[0:0::1]:5000", Origin("https", "::1", 5000), "https://[::1]:5000"),
    ],
)
def test_origin_has_one_spelling(text: str, origin: Origin, printed: str) -> None:
    """Case, a trailing dot, the default port and long addresses do not make another origin."""
    assert Origin.parse(text) == origin
    assert str(origin) == printed
    assert Origin.parse(printed) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ghcr.io",
        "//ghcr.io",
        "ftp://ghcr.io",
        "https://",
        "https://ghcr.io/",
        "https://ghcr.io/v2/",
        "https://ghcr.io?x",
        "https://ghcr.io#x",
        "https://user@ghcr.io",
        "https://user:secret@ghcr.io",
        "https://ghcr.io:",
        "https://ghcr.io:0",
        "https://ghcr.io:65536",
        "https://ghcr.io:99999999999999999999",
        "https://ghcr.io:+80",
        "https://ghcr.io:\N{ARABIC-INDIC DIGIT ONE}",
        "https://ghcr.io:80:80",
        "https://::1",
        "https://[::1",
        "https://[::1]x",
        "https://[ghcr.io]",
        "https://[127.0.0.1]",
        "https://[fe80::1%25eth0]",
        " https://ghcr.io",
        "https://ghcr.io\r\n",
    ],
)
def test_origin_refuses_all_else(text: str) -> None:
    """An origin is a scheme and an authority, nothing before, between or after."""
    with pytest.raises(ValueError, match="expected"):
        Origin.parse(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("GHCR.io", "ghcr.io"),
        ("ghcr.io.", "ghcr.io"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("1password.com", "1password.com"),
    ],
)
def test_host_is_normalised(text: str, host: str) -> None:
    """A host has one spelling, which is its own."""
    assert parse_host(text) == host
    assert parse_host(host) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        ".a",
        "a..b",
        "a b",
        "a\tb",
        "a\0b",
        "a\n",
        "-a",
        "a-",
        "a/b",
        "a@b",
        "a%41",
        "*.a",
        "bücher.example",
        "\N{KELVIN SIGN}8s.io",
        "a" * 64,
        "a." * 127 + "a",
        "127.1",
        "127.0.0.01",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "1.2.3.4.5",
        "256.0.0.1",
        "[]",
        "[::1",
        "::1]",
        "fe80::1%eth0",
        ":::",
    ],
)
def test_host_is_refused(text: str) -> None:
    """What could be read as two hosts, or as none, is refused with the input quoted."""
    with pytest.raises(ValueError, match="expected a") as caught:
        parse_host(text)
    assert repr(text) in str(caught.value)


def test_address_is_told_from_a_name() -> None:
    """IP literals have no DNS name; hosts that start with digits do."""
    assert is_ip_address("127.0.0.1")
    assert is_ip_address("::1")
    assert not is_ip_address("127.0.0.1.example")


@pytest.mark.parametrize(
    "build",
    [
        lambda: Digest("sha256", "short"),
        lambda: Tag(".."),
        lambda: Origin("ftp", "a", 1),
        lambda: Origin("https", "A", 443),
        lambda: Origin("https", "a.", 443),
        lambda: Origin("https", "a", 0),
        lambda: HostPort("[::1]", 1),
        lambda: HostPort("a", 65536),
    ],
)
def test_constructor_checks_too(build: Callable[[], object]) -> None:
    """No value of these types exists that `parse` or `make` would not give."""
    with pytest.raises(ValueError, match="expected"):
        build()


def test_origin_make_normalises() -> None:
    """Parts from a CONNECT line or a URL become the same origin as its text does."""
    assert Origin.make("HTTPS", "GHCR.io.", 443) == Origin.parse("https://ghcr.io")
    assert Origin.make("http", "[::1]", 80).authority == "[::1]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ghcr.io", HostPort("ghcr.io")),
        ("Localhost:5000", HostPort("localhost", 5000)),
        ("[::1]:5000", HostPort("::1", 5000)),
        ("[::1]", HostPort("::1")),
    ],
)
def test_host_port_is_read(text: str, expected: HostPort) -> None:
    """A listed registry is a host, with a port where one is said."""
    assert HostPort.parse(text) == expected
    assert HostPort.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["", ":5000", "a:", "a:0", "::1", "[::1]5000", "a:b", "https://a"])
def test_host_port_is_refused(text: str) -> None:
    """Anything else than HOST[:PORT] is an error."""
    with pytest.raises(ValueError, match="expected"):
        HostPort.parse(text)


@given(
    st.one_of(
        st.text(),
        st.text("sha256:0af-._/[]@% \n\0", max_size=80),
        st.from_regex(r"https?://[\[\]a-z0-9.:-]{0,20}"),
    )
)
def test_parsers_raise_nothing_but_value_error(text: str) -> None:
    """Whatever the text, a parser returns a value that prints back to itself, or ValueError."""
    parsers: list[Callable[[str], object]] = [
        Digest.parse,
        Tag.parse,
        parse_reference,
        HostPort.parse,
        Origin.parse,
        parse_host,
    ]
    for parse in parsers:
        with contextlib.suppress(ValueError):
            value = parse(text)
            assert parse(str(value)) == value
    is_repository_name(text)


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_digest_of_any_bytes_round_trips(data: bytes, algorithm: str) -> None:
    """A computed digest can be read back."""
    digest = Digest.of(data, algorithm)
    assert Digest.parse(str(digest)) == digest

"""Whom a redirected client wants, by its first bytes: what counts, and what nobody can tell."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.mitm.transparent.first_bytes import MOST_BYTES, Unclear, wanted
from entrepot.protocol.identifiers import Origin

HEAD = b"GET /v2/ HTTP/1.1\r\nUser-Agent: docker\r\nHost: Plain.Example.test:5000\r\n\r\n"
PLAIN = Origin.parse("http://plain.example.test:5000")


def hello(name: str | None) -> bytes:
    """What OpenSSL says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLO = hello("Registry.Example.test")


def in_records(sent: bytes, size: int) -> bytes:
    """The same ClientHello in records of at most `size` bytes."""
    body = sent[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2) + piece for piece in pieces)


@pytest.mark.parametrize("sent", [HELLO, HELLO + b"more", in_records(HELLO, 100)])
def test_a_name_in_tls(sent: bytes) -> None:
    """SNI and the port that the client connected to are whom it wants."""
    assert wanted(sent, 8443) == Origin.parse("https://registry.example.test:8443")


@pytest.mark.parametrize("sent", [HELLO, HEAD])
def test_a_beginning_is_waited_for(sent: bytes) -> None:
    """Nothing is decided before the name has come whole."""
    assert {wanted(sent[:length], 5000) for length in range(len(sent))} == {Unclear.YET}


@pytest.mark.parametrize(
    ("sent", "port"),
    [
        (HEAD, 5000),
        (HEAD.replace(b"\r\n", b"\n"), 5000),
        (HEAD.replace(b":5000", b""), 80),
        (HEAD.replace(b"Host: Plain", b"hOST:\tplain"), 5000),
        (HEAD.replace(b"test:5000\r", b"test:5000  \r"), 5000),
        (HEAD.replace(b"1.1", b"1.0"), 5000),
        (HEAD + HEAD.replace(b"Plain", b"other"), 5000),
    ],
)
def test_a_name_in_http(sent: bytes, port: int) -> None:
    """Host names it, whatever follows the head."""
    assert wanted(sent, port) == Origin("http", PLAIN.host, port)


@pytest.mark.parametrize(
    "sent",
    [
        hello(None),
        HELLO.replace(b"Registry.Example", b"Registry Example"),
        b"\x16\x03\x01\x00\x00" + HELLO,
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"EHLO me\r\n",
        b"GET /v2/\r\n",
        b"GET /v2/ HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"get /v2/ HTTP/1.1\r\nHost: plain.example.test:5000\r\n\r\n",
        b"CONNECT plain.example.test:5000 HTTP/1.1\r\nHost: plain.example.test:5000\r\n\r\n",
        b"GET http://plain.example.test:5000/ HTTP/1.1\r\nHost: plain.example.test:5000\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        HEAD.replace(b"Host:", b"Host :"),
        HEAD.replace(b"User-Agent: docker", b"Host: other.example.test:5000"),
        HEAD.replace(b"5000", b"5001"),
        HEAD.replace(b":5000", b""),
        HEAD.replace(b"Example", b"Ex\xc3\xa4mple"),
        HEAD.replace(b"Plain.Example.test", b"user@plain.example.test"),
    ],
)
def test_nobody_is_named(sent: bytes) -> None:
    """What is neither, names nobody, or two, or somebody elsewhere, is never looked into."""
    assert wanted(sent, 5000) is Unclear.NEVER


@pytest.mark.parametrize("begun", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"\x16\x03\x01\xff\xff\x01"])
def test_the_end_is_not_waited_for_without_end(begun: bytes) -> None:
    """What is longer than any head is passed on instead of being kept."""
    assert wanted(begun + b"a" * 1000, 443) is Unclear.YET
    assert wanted(begun + b"a" * MOST_BYTES, 443) is Unclear.NEVER


@given(st.binary(max_size=200), st.integers(0, len(HELLO)), st.sampled_from([HELLO, HEAD]))
def test_any_bytes_have_an_answer(noise: bytes, at: int, sent: bytes) -> None:
    """No bytes are an error, however a client begins."""
    found = wanted(sent[:at] + noise + sent[at + len(noise) :], 5000)
    assert isinstance(found, Unclear | Origin)

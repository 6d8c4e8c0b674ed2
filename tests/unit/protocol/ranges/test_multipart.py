"""``multipart/byteranges``: framed as RFC 9110 section 14.6 and its readers have it."""

import email
from email import policy

from entrepot.protocol.ranges.multipart import Multipart, random_boundary
from rig.multipart import parts_of

DATA = b"0123456789"
TWO = Multipart.make("xyz", "application/x-layer", 10, ((0, 2), (7, 10)))


def test_a_body_is_framed_to_the_byte() -> None:
    """The form of the RFC's example: a boundary, two fields and a blank line before each part."""
    assert TWO.of(DATA) == (
        b"--xyz\r\nContent-Type: application/x-layer\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
        b"\r\n--xyz\r\nContent-Type: application/x-layer\r\nContent-Range: bytes 7-9/10\r\n\r\n789"
        b"\r\n--xyz--\r\n"
    )
    assert TWO.content_type == "multipart/byteranges; boundary=xyz"


def test_its_length_is_known_before_it_is_read() -> None:
    assert TWO.length == len(TWO.of(DATA))


def test_readers_of_multipart_find_the_parts() -> None:
    """Python's own of MIME, and the strict one of these tests."""
    head = f"Content-Type: {TWO.content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + TWO.of(DATA), policy=policy.HTTP)
    assert not message.defects
    found = [part.get_payload(decode=True) for part in message.iter_parts()]
    assert found == [b"01", b"789"]
    assert parts_of(TWO.content_type, TWO.of(DATA)) == [(0, b"01"), (7, b"789")]


def test_what_has_no_type_says_none() -> None:
    framing = Multipart.make("xyz", "", 10, ((0, 2), (7, 10)))
    assert b"Content-Type" not in framing.of(DATA)
    assert framing.length == len(framing.of(DATA))


def test_a_boundary_is_a_token() -> None:
    """So that it needs no quotes (RFC 2046 section 5.1.1)."""
    boundary = random_boundary()
    assert boundary.isalnum()
    assert len(boundary) <= 70


def test_boundaries_differ() -> None:
    """Who made the content cannot have known it."""
    assert random_boundary() != random_boundary()

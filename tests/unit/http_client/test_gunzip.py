"""Bodies that came gzip-encoded though nobody asked for it."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.http_client.gunzip import Gunzip, is_encoded

TAR = bytes(257) + b"ustar\x0000" + bytes(247)


def decoded(pieces: list[bytes], most: int) -> bytes:
    """All that comes of these pieces, never more than `most` at once."""
    gunzip, found = Gunzip(), b""
    for piece in pieces:
        gunzip.feed(piece)
        while data := gunzip.take(most):
            assert len(data) <= most
            found += data
    assert gunzip.is_complete
    return found


@given(st.binary(max_size=3000), st.integers(1, 500), st.integers(1, 5000))
def test_a_body_comes_back(data: bytes, cut: int, most: int) -> None:
    """Wherever it is cut into pieces, and however little is taken at once."""
    sent = gzip.compress(data)
    assert decoded([sent[:cut], sent[cut:]], most) == data


def test_members_follow_each_other() -> None:
    """A gzip file may be several (RFC 1952 section 2.2)."""
    assert decoded([gzip.compress(b"one") + gzip.compress(b"two")], 100) == b"onetwo"


def test_a_bomb_goes_off_in_pieces() -> None:
    """However much is in it, only what is asked for comes."""
    gunzip = Gunzip()
    gunzip.feed(gzip.compress(bytes(100_000_000)))
    assert len(gunzip.take(1000)) == 1000


def test_a_cut_body_is_not_complete() -> None:
    """What misses its trailer is told from a whole one."""
    gunzip = Gunzip()
    gunzip.feed(gzip.compress(b"text")[:-1])
    assert gunzip.take(100) == b"text"
    assert gunzip.take(100) == b""
    assert not gunzip.is_complete


def test_a_damaged_body_is_an_error() -> None:
    """A checksum that does not fit is not overlooked."""
    sent = bytearray(gzip.compress(b"text"))
    sent[-6] ^= 1
    gunzip = Gunzip()
    gunzip.feed(bytes(sent))
    with pytest.raises(zlib.error):
        gunzip.take(100)


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (gzip.compress(b'{"schemaVersion": 2}'), True),
        (gzip.compress(b'\n {"schemaVersion": 2}'), True),
        (gzip.compress(gzip.compress(TAR)), True),
        (gzip.compress(b"\x28\xb5\x2f\xfd" + bytes(100)), True),
        (gzip.compress(TAR), False),
        (gzip.compress(b""), False),
        (b'{"schemaVersion": 2}', False),
        (b"\x1f\x8bnot gzip at all", False),
        (b"\x1f\x8b", False),
        (b"", False),
    ],
    ids=range(10),
)
def test_a_layer_is_told_from_what_was_encoded(first: bytes, expected: bool) -> None:  # noqa: FBT001
    """A compressed layer that is only marked as encoded is what its digest names."""
    assert is_encoded(first) is expected

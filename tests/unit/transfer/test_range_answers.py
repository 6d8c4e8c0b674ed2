"""Answers made of content that is here: ranges, conditions, HEAD."""

import pytest

from entrepot.protocol.cache_status import HIT
from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.messages import Answer, Body, Request
from entrepot.transfer.range_answers import Content, content_answer, wants_part

DATA = b"0123456789"
DIGEST = Digest.of(DATA)
REGISTRY = Origin("https", "registry.example.test", 443)


def opened(start: int, stop: int | None) -> bytes | Body:
    return DATA[start:stop]


def answer(
    *fields: tuple[str, str], method: str = "GET", size: int | None = 10, ranges: bool = True
) -> Answer:
    request = Request(method, REGISTRY, "/v2/a/blobs/x", headers=fields)
    content = Content(DIGEST, "application/octet-stream", size, opened, age=7.9)
    return content_answer(request, content, HIT, ranges=ranges)


@pytest.mark.parametrize(
    ("value", "status", "span", "body"),
    [
        ("bytes=0-3", 206, "bytes 0-3/10", b"0123"),
        ("bytes=4-", 206, "bytes 4-9/10", b"456789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=0-", 206, "bytes 0-9/10", DATA),
        ("bytes=0-99", 206, "bytes 0-9/10", DATA),
        ("bytes=-99", 206, "bytes 0-9/10", DATA),
        ("bytes=9-9", 206, "bytes 9-9/10", b"9"),
        ("bytes=3-2", 200, None, DATA),
        ("bytes=0-1,4-5", 200, None, DATA),
        ("items=0-1", 200, None, DATA),
        ("nonsense", 200, None, DATA),
    ],
)
def test_a_range_is_answered_from_the_content(
    value: str, status: int, span: str | None, body: bytes
) -> None:
    """One range gives 206 and its bytes; what may be ignored gives the whole."""
    got = answer(("Range", value))
    assert (got.status, got.value("Content-Range"), got.content) == (status, span, body)
    assert got.value("Content-Length") == str(len(body))


@pytest.mark.parametrize("value", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_outside_is_refused_with_the_size(value: str) -> None:
    """416 says how long the blob is (RFC 9110 section 15.5.17)."""
    got = answer(("Range", value))
    assert (got.status, got.value("Content-Range")) == (416, "bytes */10")


def test_a_whole_answer_says_what_it_is() -> None:
    """Type, length, digest, age and how the cache came to it are all there, once."""
    got = answer()
    assert dict(got.headers) == {
        "Content-Length": "10",
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "Docker-Content-Digest": str(DIGEST),
        "ETag": f'"{DIGEST}"',
        "Age": "7",
        "Docker-Distribution-Api-Version": "registry/2.0",
        "Cache-Status": "entrepot; hit",
    }
    assert len(got.headers) == 8


def test_an_age_is_never_negative() -> None:
    """A clock that was set back gives 0."""
    content = Content(DIGEST, "a/b", 10, opened, age=-5.0)
    got = content_answer(Request("GET", REGISTRY, "/"), content, HIT, ranges=True)
    assert got.value("Age") == "0"


def test_head_opens_nothing() -> None:
    """HEAD gives GET's header fields and does not touch the content."""

    def refuse(start: int, stop: int | None) -> bytes:
        raise AssertionError(f"opened {start}-{stop}")

    content = Content(DIGEST, "application/octet-stream", 10, refuse, age=7.9)
    got = content_answer(Request("HEAD", REGISTRY, "/"), content, HIT, ranges=True)
    assert (got.status, got.headers, got.content) == (200, answer().headers, b"")


def test_head_ignores_a_range() -> None:
    """Range is defined for GET only (RFC 9110 section 14.2)."""
    got = answer(("Range", "bytes=0-1"), method="HEAD")
    assert (got.status, got.value("Content-Length")) == (200, "10")


def test_a_manifest_is_never_given_in_part() -> None:
    """Where ranges are off, Range is ignored and not offered."""
    got = answer(("Range", "bytes=0-1"), ranges=False)
    assert (got.status, got.content, got.value("Accept-Ranges")) == (200, DATA, None)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (f'"{DIGEST}"', 304),
        (f'W/"{DIGEST}"', 304),
        (f'"other", "{DIGEST}"', 304),
        ("*", 304),
        ('"other"', 200),
        (str(DIGEST), 200),
    ],
)
def test_a_client_that_has_it_is_told_so(condition: str, status: int) -> None:
    """If-None-Match compares with the digest as entity tag."""
    got = answer(("If-None-Match", condition))
    assert (got.status, got.content) == (status, b"" if status == 304 else DATA)


def test_a_condition_comes_before_a_range() -> None:
    """RFC 9110 section 13.2.2: a client that has the whole needs no part."""
    assert answer(("If-None-Match", "*"), ("Range", "bytes=99-")).status == 304


def test_content_of_unknown_size_has_no_length_and_no_part() -> None:
    """A download whose end nobody knows is given from its start to its end."""
    got = answer(("Range", "bytes=0-1"), size=None)
    assert (got.status, got.content, got.value("Content-Length")) == (200, DATA, None)


@pytest.mark.parametrize(
    ("method", "value", "wanted"),
    [
        ("GET", "bytes=0-1", True),
        ("GET", "bytes=0-1,3-4", False),
        ("GET", None, False),
        ("HEAD", "bytes=0-1", False),
    ],
)
def test_a_part_is_wanted_by_get_with_one_range(
    method: str,
    value: str | None,
    wanted: bool,  # noqa: FBT001 a column of the table
) -> None:
    """Only then must the size be known before anything is answered."""
    fields = () if value is None else (("Range", value),)
    assert wants_part(Request(method, REGISTRY, "/", headers=fields)) is wanted

"""Answers made of content that is here: ranges, conditions, HEAD."""

from contextlib import suppress
from typing import NoReturn

import pytest

from entrepot.protocol.cache_status import HIT
from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.messages import Answer, Fields, Request
from entrepot.protocol.ranges.byte_ranges import RangeSet
from entrepot.transfer.range_answers import (
    Content,
    Part,
    content_answer,
    part_of,
    wanted_ranges,
)
from rig.multipart import parts_of

DATA = b"0123456789"
DIGEST = Digest.of(DATA)
REGISTRY = Origin("https", "registry.example.test", 443)


def answer(*fields: tuple[str, str], method: str = "GET", size: int | None = 10) -> Answer:
    request = Request(method, REGISTRY, "/v2/a/blobs/x", headers=fields)
    content = Content(DIGEST, "application/octet-stream", size, DATA, age=7.9)
    return content_answer(request, content, HIT, boundary=lambda: "xyz")


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
        ("bytes=0-1,10-", 206, "bytes 0-1/10", b"01"),
        ("bytes=0-8,5-9", 200, None, DATA),
        ("bytes=" + ",".join(["0-0"] * 1025), 200, None, DATA),
        ("items=0-1", 200, None, DATA),
        ("nonsense", 200, None, DATA),
    ],
)
def test_a_range_is_answered_from_the_content(
    value: str, status: int, span: str | None, body: bytes
) -> None:
    """One range, or the one that is left, gives 206 and its bytes; what is ignored, the whole."""
    got = answer(("Range", value))
    assert (got.status, got.value("Content-Range"), got.content) == (status, span, body)
    assert got.value("Content-Length") == str(len(body))


@pytest.mark.parametrize("value", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=10-,-0"])
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
    content = Content(DIGEST, "a/b", 10, DATA, age=-5.0)
    got = content_answer(Request("GET", REGISTRY, "/"), content, HIT)
    assert got.value("Age") == "0"


def test_head_opens_nothing() -> None:
    """HEAD gives GET's header fields and does not touch the content."""

    def refuse(part: Part) -> NoReturn:
        raise AssertionError(part)

    content = Content(DIGEST, "application/octet-stream", 10, refuse, age=7.9)
    got = content_answer(Request("HEAD", REGISTRY, "/"), content, HIT)
    assert (got.status, got.headers, got.content) == (200, answer().headers, b"")


def test_head_ignores_a_range() -> None:
    """Range is defined for GET only (RFC 9110 section 14.2)."""
    got = answer(("Range", "bytes=0-1"), method="HEAD")
    assert (got.status, got.value("Content-Length")) == (200, "10")


def test_several_ranges_give_a_part_each_in_the_order_asked() -> None:
    """RFC 9110 section 15.3.7.2; podman takes the parts for its ranges, one by one."""
    got = answer(("Range", "bytes=7-,0-1,2-3"))
    assert isinstance(got.content, bytes)
    assert (got.status, got.value("Content-Range")) == (206, None)
    content_type = got.value("Content-Type") or ""
    assert content_type == "multipart/byteranges; boundary=xyz"
    assert parts_of(content_type, got.content) == [(7, b"789"), (0, b"01"), (2, b"23")]
    assert got.value("Content-Length") == str(len(got.content))
    assert got.content.count(b"Content-Type: application/octet-stream\r\n") == 3
    assert got.value("ETag") == f'"{DIGEST}"'


def test_a_boundary_is_made_anew() -> None:
    """Unless a test says which."""
    request = Request("GET", REGISTRY, "/", headers=(("Range", "bytes=0-0,2-2"),))
    content = Content(DIGEST, "a/b", 10, DATA)
    types = {content_answer(request, content, HIT).value("Content-Type") for _ in range(2)}
    assert len(types) == 2


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (f'"{DIGEST}"', 206),
        (f' "{DIGEST}" ', 206),
        (f'W/"{DIGEST}"', 200),
        (str(DIGEST), 200),
        ('"other"', 200),
        ("*", 200),
        ("", 200),
        (f'"{DIGEST}", "other"', 200),
        ("Sat, 29 Oct 1994 19:43:31 GMT", 200),
    ],
)
def test_if_range_lets_a_range_count(condition: str, status: int) -> None:
    """Where the tag is a strong one of this content; never by a date (RFC 9110 section 13.1.5)."""
    assert answer(("Range", "bytes=0-1"), ("If-Range", condition)).status == status
    assert answer(("Range", "bytes=0-1,4-5"), ("If-Range", condition)).status == status
    assert answer(("Range", "bytes=99-"), ("If-Range", condition)).status != 206


def test_if_range_alone_does_nothing() -> None:
    assert answer(("If-Range", '"other"')).status == 200


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        ("bytes=0-", [(0, 10)]),
        ("bytes=2-3", [(2, 4)]),
        ("bytes=4-5,0-1", [(4, 6), (0, 2)]),
        ("bytes=99-", None),
    ],
)
def test_who_fetches_hears_of_all_parts_before_one_is_opened(
    value: str | None, wanted: list[tuple[int, int]] | None
) -> None:
    """So that they can be asked for together; a whole is fetched as it is."""
    heard: list[object] = []

    def opening(part: Part) -> NoReturn:
        heard.append(part)
        raise OSError

    content = Content(DIGEST, "a/b", 10, opening, want=lambda spans: heard.append([*spans]))
    fields = () if value is None else (("Range", value),)
    with suppress(OSError):
        content_answer(Request("GET", REGISTRY, "/", headers=fields), content, HIT)
    assert [one for one in heard if isinstance(one, list)] == ([] if wanted is None else [wanted])
    assert wanted is None or heard[0] == wanted


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (("Range", "bytes=0-1"),),
        (("Range", "bytes=99-"),),
        (("If-None-Match", "*"),),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_parts_are_opened_from_is_let_go(method: str, fields: Fields) -> None:
    """At once, however it is answered."""
    closed: list[bool] = []

    def fail(part: Part) -> NoReturn:
        raise OSError(part)

    content = Content(DIGEST, "a/b", 10, fail, lambda: closed.append(True))
    with suppress(OSError):
        content_answer(Request(method, REGISTRY, "/", headers=fields), content, HIT)
    assert closed == [True]


@pytest.mark.parametrize(
    ("fields", "status", "body"),
    [
        ((), 200, DATA),
        ((("Range", "bytes=0-"),), 206, DATA),
        ((("Range", "bytes=2-3"),), 206, b"23"),
        ((("Range", "bytes=2-3"), ("If-Range", '"other"')), 200, DATA),
    ],
)
def test_what_others_share_is_cut_for_each(fields: Fields, status: int, body: bytes) -> None:
    """One answer to all who asked at once, and to each what it asked; other fields stay."""
    whole = answer().adding(("Link", "</next>"))
    got = part_of(Request("GET", REGISTRY, "/", headers=fields), whole)
    assert (got.status, got.content) == (status, body)
    assert got.value("Content-Length") == str(len(body))
    assert got.value("Link") == "</next>"
    assert got.value("Cache-Status") == whole.value("Cache-Status")


@pytest.mark.parametrize(
    "other",
    [
        Answer(404, (("Accept-Ranges", "bytes"),), b"0123"),
        Answer(200, (("Docker-Content-Digest", str(DIGEST)),), DATA),
        Answer(200, (("Accept-Ranges", "bytes"),), DATA),
        Answer(304, (("Accept-Ranges", "bytes"), ("Docker-Content-Digest", str(DIGEST)))),
    ],
)
def test_what_is_another_answer_is_not_cut(other: Answer) -> None:
    """A refusal, or what a registry said in its own words."""
    request = Request("GET", REGISTRY, "/", headers=(("Range", "bytes=0-1"),))
    assert part_of(request, other) is other


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
        ("GET", "bytes=0-1", RangeSet.parse("bytes=0-1")),
        ("GET", "bytes=0-1,3-4", RangeSet.parse("bytes=0-1,3-4")),
        ("GET", None, None),
        ("GET", "items=0-1", None),
        ("HEAD", "bytes=0-1", None),
    ],
)
def test_parts_are_wanted_by_get(method: str, value: str | None, wanted: RangeSet | None) -> None:
    """Only then must the size be known before anything is answered."""
    fields = () if value is None else (("Range", value),)
    assert wanted_ranges(Request(method, REGISTRY, "/", headers=fields), DIGEST) == wanted

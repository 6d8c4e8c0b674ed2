"""``Range``: read as RFC 9110 section 14 has it, in linear time, whatever is sent."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.protocol.ranges.byte_ranges import MOST_RANGES, ByteRange, RangeSet, Span


def ranges(*pairs: tuple[int | None, int | None]) -> RangeSet:
    return RangeSet(tuple(ByteRange(first, last) for first, last in pairs))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-99", ranges((0, 99))),
        ("bytes=5-", ranges((5, None))),
        ("bytes=-5", ranges((None, 5))),
        ("bytes=-0", ranges((None, 0))),
        ("Bytes=0-0", ranges((0, 0))),
        (" bytes= 0-1 ", ranges((0, 1))),
        ("bytes=0-" + "9" * 19, ranges((0, 9999999999999999999))),
        ("bytes=0-1,3-4", ranges((0, 1), (3, 4))),
        ("bytes=0-1, 3-4 ,\t-5", ranges((0, 1), (3, 4), (None, 5))),
        ("bytes=9-9,0-0,5-", ranges((9, 9), (0, 0), (5, None))),
        ("bytes=0-1,", ranges((0, 1))),
        ("bytes=,,0-1,,2-3,", ranges((0, 1), (2, 3))),
        ("bytes=0-1,0-1", ranges((0, 1), (0, 1))),
    ],
)
def test_ranges_are_read(value: str, expected: RangeSet) -> None:
    """One range or several are understood, each in its three forms, in the order asked."""
    assert RangeSet.parse(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=2-1",
        "bytes=0-1,2-1",
        "bytes=0-1;3-4",
        "bytes=0-1,x",
        "bytes=0-1, bytes=3-4",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=0-1-2",
        "bytes=0 - 1",
        "bytes 0-1",
        "bytes =0-1",
        "items=0-1",
        "byte\N{LATIN SMALL LETTER LONG S}=0-1",
        "bytes=\N{ARABIC-INDIC DIGIT ONE}-",
        "bytes=0-" + "9" * 20,
        "bytes=0-1\n",
        "bytes=0-1\n,2-3",
    ],
)
def test_other_ranges_are_ignored(value: str) -> None:
    """A server may ignore Range, and the whole is the right answer to what it cannot read."""
    assert RangeSet.parse(value) is None


@pytest.mark.parametrize(
    ("value", "size", "expected"),
    [
        ("bytes=0-99", 100, ((0, 100),)),
        ("bytes=0-98", 100, ((0, 99),)),
        ("bytes=0-1000", 100, ((0, 100),)),
        ("bytes=99-", 100, ((99, 100),)),
        ("bytes=100-", 100, ()),
        ("bytes=100-200", 100, ()),
        ("bytes=-1", 100, ((99, 100),)),
        ("bytes=-100", 100, ((0, 100),)),
        ("bytes=-101", 100, ((0, 100),)),
        ("bytes=-0", 100, ()),
        ("bytes=0-", 0, ()),
        ("bytes=-1", 0, ()),
        ("bytes=0-1,5-6", 10, ((0, 2), (5, 7))),
        ("bytes=5-6,0-1", 10, ((5, 7), (0, 2))),
        ("bytes=0-1,10-,-0,8-99", 10, ((0, 2), (8, 10))),
        ("bytes=10-,11-12", 10, ()),
        ("bytes=0-4,5-9", 10, ((0, 5), (5, 10))),
        ("bytes=0-4,3-6", 10, ((0, 5), (3, 7))),
        ("bytes=0-6,3-9", 10, None),
        ("bytes=0-,-1", 10, None),
        ("bytes=0-0,0-0,0-0", 2, None),
    ],
)
def test_ranges_resolve_within_the_size(
    value: str, size: int, expected: tuple[Span, ...] | None
) -> None:
    """Each is cut to the content; what lies outside is left out; more than the whole is the whole.

    Those that touch or overlap stay apart, since podman counts the parts.
    """
    found = RangeSet.parse(value)
    assert found is not None
    assert found.resolve(size) == expected


@pytest.mark.parametrize(
    ("value", "several", "bounded"),
    [
        ("bytes=0-1", False, True),
        ("bytes=-1", False, True),
        ("bytes=0-", False, False),
        ("bytes=0-1,5-", True, True),
    ],
)
def test_what_resumes_a_transfer_is_told_apart(
    value: str,
    several: bool,  # noqa: FBT001 a column of the table
    bounded: bool,  # noqa: FBT001
) -> None:
    """One range without an end is no part that its client verifies by itself."""
    found = RangeSet.parse(value)
    assert found is not None
    assert (found.is_several, found.is_bounded) == (several, bounded)


def test_so_many_are_read_and_no_more() -> None:
    """As many as podman asks for at most, each of a blob of 400 GB."""
    each = [f"{400_000_000_000 + at * 9}-{400_000_000_004 + at * 9}" for at in range(MOST_RANGES)]
    found = RangeSet.parse("bytes=" + ",".join(each))
    assert found is not None
    assert len(found.ranges) == 1024
    assert len(str(found)) < 64 * 1024
    assert RangeSet.parse("bytes=" + ",".join([*each, "0-0"])) is None


Ends = tuple[int | None, int | None]
SMALL = st.integers(0, 400)
PAIR: st.SearchStrategy[Ends] = st.one_of(
    st.tuples(SMALL, SMALL).map(lambda ends: (min(ends), max(ends))),
    st.tuples(SMALL, st.none()),
    st.tuples(st.none(), SMALL),
)


@given(st.lists(PAIR, min_size=1, max_size=30))
def test_a_field_reads_as_it_was_written(pairs: list[Ends]) -> None:
    """What goes upstream says what the client said."""
    asked = ranges(*pairs)
    assert RangeSet.parse(str(asked)) == asked


@given(st.text("bytes=0123456789-, \t", max_size=80) | st.text(), st.integers(0, 2**63))
def test_resolved_ranges_are_inside(value: str, size: int) -> None:
    """Whatever the field says, what it resolves to are bytes that exist, and no more of them."""
    found = RangeSet.parse(value)
    spans = None if found is None else found.resolve(size)
    if spans is not None:
        assert all(0 <= start < stop <= size for start, stop in spans)
        assert sum(stop - start for start, stop in spans) <= size


@given(st.lists(PAIR, min_size=1, max_size=8), st.integers(0, 300))
def test_ranges_say_what_they_mean(pairs: list[Ends], size: int) -> None:
    """Compared with Python's own slices of the content."""
    content, wanted = list(range(size)), []
    for first, last in pairs:
        if first is None:
            part = content[-last:] if last else []
        else:
            part = content[first : None if last is None else last + 1]
        wanted.extend([part] if part else [])
    spans = ranges(*pairs).resolve(size)
    if sum(map(len, wanted)) > size:
        assert spans is None
    else:
        assert spans is not None
        assert [content[start:stop] for start, stop in spans] == wanted


@pytest.mark.parametrize(
    "value",
    [
        "bytes=" + "," * 1_000_000,
        "bytes=" + "0-0," * 250_000,
        "bytes=" + " " * 1_000_000,
        "bytes=" + "0" * 1_000_000 + "-",
        "bytes=" + "-" * 1_000_000,
    ],
)
def test_reading_takes_no_time(value: str) -> None:
    """A field as long as no head can be is read or left in linear time."""
    began = time.thread_time()  # whatever else the machine does meanwhile
    assert RangeSet.parse(value) is None
    assert time.thread_time() - began < 1

"""Intervals of covered bytes, against a plain set of offsets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.intervals import Intervals

_MOST = 60
_OFFSETS = st.integers(0, _MOST)
_SPANS = st.lists(st.tuples(_OFFSETS, _OFFSETS), max_size=25)


def _offsets(spans: list[tuple[int, int]]) -> set[int]:
    return {offset for start, stop in spans for offset in range(start, stop)}


@given(_SPANS)
def test_it_covers_what_was_added(spans: list[tuple[int, int]]) -> None:
    """Whatever the order: each addition says what was new, and the intervals never touch."""
    found, known = Intervals(), set[int]()
    for start, stop in spans:
        new = set(range(start, stop)) - known
        assert found.add(start, stop) == len(new)
        known |= new
        assert found.total == len(known)
        ordered = list(found)
        assert _offsets(ordered) == known
        assert len(found) == len(ordered)
        assert all(start < stop for start, stop in ordered)
        assert all(ordered[i][1] < ordered[i + 1][0] for i in range(len(ordered) - 1))
    assert found.end == max(known, default=-1) + 1
    assert found == Intervals(reversed(spans))


@given(_SPANS, _OFFSETS, _OFFSETS)
def test_it_finds_what_is_there(spans: list[tuple[int, int]], start: int, stop: int) -> None:
    """Covered or not, how far, and which gaps are left: as the set of offsets says."""
    found, known = Intervals(spans), _offsets(spans)
    wanted = set(range(start, stop))
    assert found.covers(start, stop) == (wanted <= known)
    end = found.end_from(start)
    assert set(range(start, end)) <= known
    assert end not in known
    gaps = list(found.gaps(start, stop))
    assert _offsets(gaps) == wanted - known
    assert sum(b - a for a, b in gaps) == len(wanted - known)
    assert all(a < b for a, b in gaps)
    assert gaps == sorted(gaps)


@given(_SPANS, _OFFSETS, _OFFSETS)
def test_a_gap_ends_where_the_next_interval_begins(
    spans: list[tuple[int, int]], offset: int, stop: int
) -> None:
    """Or where one does not look further; what is covered is no gap."""
    found, known = Intervals(spans), _offsets(spans)
    if offset in known:
        assert found.gap_end(offset, stop) == offset
    elif stop > offset:
        assert [(offset, found.gap_end(offset, stop))] == list(found.gaps(offset, stop))[:1]


def test_an_offset_is_never_negative() -> None:
    """Such an interval is a mistake of who adds it, and changes nothing."""
    found = Intervals([(0, 4)])
    with pytest.raises(ValueError, match="got -1"):
        found.add(-1, 9)
    assert list(found) == [(0, 4)]


def test_what_came_in_order_is_one_interval() -> None:
    """However long the file: its offsets are of any size."""
    found, step = Intervals(), 400 * 1024**3
    for piece in range(1000):
        found.add(piece * step, (piece + 1) * step)
    assert list(found) == [(0, 1000 * step)]
    assert repr(found) == f"Intervals([(0, {1000 * step})])"
    assert found != [(0, 1000 * step)]


@given(_SPANS, _SPANS)
def test_what_is_removed_is_a_gap(
    spans: list[tuple[int, int]], removed: list[tuple[int, int]]
) -> None:
    """Each removal says what was there."""
    found, known = Intervals(spans), _offsets(spans)
    for start, stop in removed:
        gone = set(range(start, stop)) & known
        assert found.remove(start, stop) == len(gone)
        known -= gone
        assert (found.total, _offsets(list(found))) == (len(known), known)
    assert found == Intervals((offset, offset + 1) for offset in known)
    found.clear()
    assert (list(found), found.total) == ([], 0)

"""What of a blob is fetched next: what is wanted first, every byte once, nothing left out."""

from dataclasses import dataclass, field
from random import Random
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.intervals import Intervals
from entrepot.transfer.filling.segments import JOINED, NEAR, READ_THROUGH, Segment, Segments
from entrepot.transfer.filling.source import Source

MIB = 1024 * 1024
SIZE = 64 * MIB
CLIENT = cast("Source", object())


@dataclass
class World:
    """A blob of SIZE bytes, fetched by hand."""

    segments: Segments = field(default_factory=lambda: Segments(Intervals()))
    fetched: int = 0

    def __post_init__(self) -> None:
        self.segments.size = SIZE

    def want(self, *spans: tuple[int, int]) -> None:
        self.segments.want(spans, CLIENT)

    def take_all(self) -> list[Segment]:
        return list(iter(self.segments.take_wanted, None))

    def bring(self, segment: Segment, count: int, end: int | None = None) -> bool:
        """Bytes come by a segment's connection; whether that goes on."""
        at = segment.at
        self.fetched += count
        self.segments.covered.add(at, at + count)
        return self.segments.advance(segment, at + count, end)

    def finish(self, segment: Segment) -> None:
        """A connection that gives what it was asked for, and no more."""
        while segment.at < segment.stop:
            end = segment.stop
            while self.bring(segment, min(MIB, segment.stop - segment.at), end):
                pass
        self.segments.end(segment)


def spans(segments: list[Segment]) -> list[tuple[int, int]]:
    return [(one.at, one.stop) for one in segments]


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_wanted_is_taken_in_the_order_of_the_wishes(world: World) -> None:
    """Each as it was asked for, and read ahead where it is tiny, but not beyond the blob."""
    world.want((40 * MIB, 48 * MIB))
    world.want((SIZE - 60, SIZE), (5, 6))
    assert spans(world.take_all()) == [
        (40 * MIB, 48 * MIB),
        (5, 5 + JOINED),
        (SIZE - 60, SIZE),
    ]


def test_neighbours_are_fetched_together(world: World) -> None:
    """A small gap between two is cheaper to bring than another connection."""
    world.want((0, MIB), (MIB + JOINED - 1, 2 * MIB), (3 * MIB, 4 * MIB))
    assert spans(world.take_all()) == [(0, 2 * MIB), (3 * MIB, 4 * MIB)]


def test_what_comes_soon_is_waited_for(world: World) -> None:
    """No byte is asked for twice."""
    world.segments.begin(Segment(0, SIZE))
    world.want((NEAR, 2 * NEAR))
    assert world.take_all() == []
    assert world.segments.is_coming(NEAR)


def test_what_comes_late_is_taken_from_who_would_bring_it(world: World) -> None:
    """The stream ends where another begins, and what is behind that is nobody's."""
    stream = world.segments.begin(Segment(0, SIZE))
    world.want((32 * MIB, 40 * MIB))
    assert spans(world.take_all()) == [(32 * MIB, 40 * MIB)]
    assert stream.stop == 32 * MIB
    rest = world.segments.take_next(SIZE)
    assert rest is not None
    assert (rest.at, rest.stop) == (40 * MIB, SIZE)


def test_a_client_whose_tail_was_taken_gets_the_rest_too(world: World) -> None:
    """It is queued as that client's wish."""
    world.want((0, SIZE))
    (first,) = world.take_all()
    world.want((32 * MIB, 40 * MIB))
    assert spans(world.take_all()) == [(32 * MIB, 40 * MIB), (40 * MIB, SIZE)]
    assert first.stop == 32 * MIB


def test_a_footer_within_a_stream_leaves_the_stream_as_it_is(world: World) -> None:
    """It is read through later: a new connection behind it would cost more."""
    stream = world.segments.begin(Segment(0, SIZE))
    world.want((32 * MIB, 32 * MIB + 60))
    (footer,) = world.take_all()
    assert stream.stop == SIZE
    world.finish(footer)
    while world.bring(stream, MIB, SIZE):
        pass
    assert world.segments.is_complete
    assert world.fetched == SIZE + JOINED


def test_a_large_piece_that_is_here_is_passed_by(world: World) -> None:
    """The connection ends before it, and another begins behind it."""
    stream = world.segments.begin(Segment(0, SIZE))
    world.segments.covered.add(MIB, MIB + READ_THROUGH)
    assert not world.bring(stream, MIB, SIZE)
    assert (stream.at, stream.stop) == (MIB + READ_THROUGH, SIZE)


def test_nothing_is_passed_by_where_there_are_no_ranges(world: World) -> None:
    """An upstream that only gives the whole is read to the end."""
    world.segments.has_ranges = False
    stream = world.segments.begin(Segment(0, MIB))
    world.segments.covered.add(MIB, 40 * MIB)
    assert world.segments.advance(stream, 5, SIZE)
    world.segments.covered.add(0, MIB)
    assert world.segments.advance(stream, MIB, SIZE)
    assert (stream.at, stream.stop) == (40 * MIB, SIZE)


def test_what_is_here_is_not_asked_for(world: World) -> None:
    """Only the gaps of a wish, each for itself."""
    world.segments.covered.add(MIB, 3 * MIB)
    world.want((0, 4 * MIB))
    assert spans(world.take_all()) == [(0, MIB), (3 * MIB, 4 * MIB)]
    world.want((MIB, 3 * MIB))
    assert not world.segments.waiting


def test_a_wish_is_queued_once(world: World) -> None:
    """However many clients ask for the same."""
    for _ in range(1000):
        world.want((7 * MIB, 8 * MIB), (6 * MIB, 7 * MIB))
    assert world.segments.waiting == 1
    assert not world.segments.is_coming(9 * MIB)
    assert world.segments.is_coming(6 * MIB)


def test_who_is_to_give_way_ends_where_it_is(world: World) -> None:
    """Not who fetches what a client waits for."""
    stream = world.segments.begin(Segment(0, SIZE))
    world.want((32 * MIB, 40 * MIB))
    (wanted,) = world.take_all()
    world.segments.give_way()
    assert not world.bring(stream, MIB, SIZE)
    assert stream.at == stream.stop == MIB
    assert world.bring(wanted, MIB, 40 * MIB)


WISHES = st.lists(st.tuples(st.integers(0, SIZE), st.integers(1, 8 * MIB)), max_size=30)


@given(WISHES, st.integers(0, 2**32))
def test_all_of_it_comes_and_hardly_anything_twice(
    wishes: list[tuple[int, int]], seed: int
) -> None:
    """Whatever is wanted when: at the end all is here, and little was read through."""
    world, chance = World(), Random(seed)  # noqa: S311 not for secrets
    flying: list[tuple[Segment, int]] = []
    left = list(wishes)
    for _ in range(10_000):
        if left and chance.random() < 0.3:
            start, count = left.pop()
            world.want((start, start + count))
            flying += [(one, one.stop) for one in world.take_all()]
        if not flying or chance.random() < 0.1:
            following = world.segments.take_next(16 * MIB)
            if following is not None:
                flying.append((following, following.stop))
        if not flying:
            break
        index = chance.randrange(len(flying))
        segment, end = flying[index]
        goes_on = segment.at < segment.stop and world.bring(
            segment, min(MIB, segment.stop - segment.at), end
        )
        if goes_on:
            continue
        if segment.at < segment.stop:
            flying[index] = (segment, segment.stop)
        else:
            world.segments.end(segment)
            del flying[index]
    assert world.segments.is_complete
    assert not world.segments.are_wanted
    assert world.fetched <= SIZE + (READ_THROUGH + MIB) * len(wishes)

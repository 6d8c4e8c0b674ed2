"""Two connections that bring the same bytes: one writes, the other finds them there."""

import threading

import pytest

from entrepot.transfer.filling.reservations import Reservations, Reserved
from entrepot.transfer.growing_file import GrowingFile


def _next(reservations: Reservations, start: int, stop: int) -> Reserved:
    with reservations.next(start, stop) as reserved:
        return reserved


def test_bytes_are_alike_up_to_where_that_changes(growing: GrowingFile) -> None:
    """Here, free, or another's."""
    reservations = Reservations(growing)
    growing.write_at(100, b"x" * 100)
    assert _next(reservations, 0, 300) == Reserved(100, is_here=False)
    assert _next(reservations, 0, 50) == Reserved(50, is_here=False)
    assert _next(reservations, 150, 300) == Reserved(200, is_here=True)
    assert _next(reservations, 150, 160) == Reserved(160, is_here=True)
    assert _next(reservations, 200, 300) == Reserved(300, is_here=False)
    with reservations.next(220, 240):
        assert _next(reservations, 200, 300) == Reserved(220, is_here=False)


def test_who_comes_second_finds_what_the_first_wrote(growing: GrowingFile) -> None:
    """It waits for that: nothing that may be hashed already is written over."""
    reservations, begun, found = Reservations(growing), threading.Event(), list[Reserved]()

    def second() -> None:
        begun.set()
        found.append(_next(reservations, 50, 200))

    with reservations.next(0, 100) as reserved:
        thread = threading.Thread(target=second)
        thread.start()
        assert begun.wait(10)
        growing.write_at(0, b"x" * reserved.stop)
        assert found == []
    thread.join(10)
    assert found == [Reserved(100, is_here=True)]


def test_what_could_not_be_written_is_the_next_ones(growing: GrowingFile) -> None:
    """A reservation ends with whatever went wrong."""
    reservations = Reservations(growing)
    with pytest.raises(OSError, match="full"), reservations.next(0, 100):
        raise OSError("full")
    assert _next(reservations, 0, 100) == Reserved(100, is_here=False)

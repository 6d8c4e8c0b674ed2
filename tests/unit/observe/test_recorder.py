"""The queue between the pulls and the disk."""

import threading
from collections.abc import Sequence

import pytest

from entrepot.events.log import Events
from entrepot.observe.recorder import Recorder
from entrepot.observe.request_record import RequestRecord
from unit.observe.world import BLOB, TAG


class Paper:
    """A writer that can be held up, and can fail."""

    def __init__(self, *, failing: bool = False) -> None:
        self.written: list[RequestRecord] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_at_it = threading.Event()
        self.closed = False
        self._failing = failing

    def write(self, records: Sequence[RequestRecord]) -> None:
        self.is_at_it.set()
        self.goes_on.wait(20)
        if self._failing:
            raise ValueError("a bug")
        self.written += records

    def upkeep(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


def test_what_was_taken_is_written_before_the_end() -> None:
    """In order, by each writer, however many there are."""
    papers = Paper(), Paper()
    recorder = Recorder(papers, Events())
    recorder.start()
    for record in (BLOB, TAG) * 1500:
        recorder.put(record)
    recorder.stop()
    for paper in papers:
        assert paper.written == [BLOB, TAG] * 1500
        assert paper.closed


def test_a_writer_that_hangs_holds_up_nobody() -> None:
    """What does not fit into the queue is left out and counted."""
    paper, events = Paper(), Events()
    recorder = Recorder([paper], events, most=10)
    paper.goes_on.clear()
    recorder.start()
    recorder.put(BLOB)
    assert paper.is_at_it.wait(20)
    for _ in range(25):
        recorder.put(TAG)
    assert events.counts == {"records_dropped": 15}
    paper.goes_on.set()
    recorder.stop()
    assert paper.written == [BLOB] + [TAG] * 10


def test_one_writers_failure_is_not_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """A bug of ours is one line with its traceback, and the others go on."""
    broken, paper, events = Paper(failing=True), Paper(), Events()
    recorder = Recorder([broken, paper], events)
    recorder.start()
    recorder.put(BLOB)
    recorder.stop()
    assert paper.written == [BLOB]
    assert events.counts == {"hook_failed": 1}
    assert "writing records" in caplog.text


def test_nothing_is_recorded_without_writers() -> None:
    """`--record none`: no thread, and nothing is kept."""
    recorder = Recorder([], Events())
    recorder.start()
    recorder.put(BLOB)
    assert not recorder.is_on
    recorder.stop()

"""What happened: one line and one number an event."""

import logging

import pytest

from entrepot.events.counters import Counter
from entrepot.events.log import SILENT_SECONDS, Events
from entrepot.events.table import Event


def test_events_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Ordinary events are INFO, others WARNING, and both count."""
    events = Events()
    with caplog.at_level(logging.INFO, "entrepot"):
        events.log(Event.BLOB_STORED, size=1)
        events.log(Event.DIGEST_MISMATCHED, repository="a")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "blob_stored size=1"),
        ("WARNING", "digest_mismatched repository=a"),
    ]
    assert events.counts == {"blob_stored": 1, "digest_mismatched": 1}


def test_a_failure_of_our_own_code_has_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """It is ERROR, and says where; no other line has a traceback."""
    events = Events()
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        events.log(Event.HOOK_FAILED, task="a test")
        events.log(Event.STORE_FAILED, reason=error)
    own, other = caplog.records
    assert (own.levelname, own.getMessage()) == ("ERROR", 'hook_failed task="a test"')
    assert own.exc_info is not None
    assert own.exc_info[0] is ZeroDivisionError
    assert not other.exc_info


def test_counting_alone_writes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A hit is a number, not a line."""
    events = Events()
    with caplog.at_level(logging.DEBUG, "entrepot"):
        events.count(Counter.BLOB_HITS)
        events.count(Event.CLIENT_REFUSED)
    assert not caplog.records
    assert events.counts == {"blob_hits": 1, "client_refused": 1}


def test_a_repeated_warning_is_said_once_in_ten_minutes(caplog: pytest.LogCaptureFixture) -> None:
    """A broken disk fills the counter, not the log; one that is full tomorrow is not silent."""
    now = [1000.0]
    events = Events(lambda: now[0])
    others = iter(Event)
    for number, seconds in enumerate((0, 1, SILENT_SECONDS - 2, 1, 1, 86_400)):
        now[0] += seconds
        events.log_once(Event.STORE_FAILED, reason=number)
        events.log_once(next(others))
    assert [text for r in caplog.records if "store" in (text := r.getMessage())] == [
        "store_failed reason=0",
        "store_failed reason=3 suppressed=2",
        "store_failed reason=5 suppressed=1",
    ]
    assert events.counts["store_failed"] == 6

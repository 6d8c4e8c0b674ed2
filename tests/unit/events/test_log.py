"""What happened: one line and one number an event."""

import logging
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.events.counters import Counter
from entrepot.events.log import SILENT_SECONDS, Events, line
from entrepot.events.table import Event


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "stored"),
        ({"size": 7}, "stored size=7"),
        ({"of": "registry.example.test:5000/a-b_c"}, "stored of=registry.example.test:5000/a-b_c"),
        ({"reason": "it broke off"}, 'stored reason="it broke off"'),
        ({"reason": ""}, 'stored reason=""'),
        ({"reason": 'a "b"'}, r'stored reason="a \"b\""'),
        ({"reason": "a\nb"}, r'stored reason="a\nb"'),
        ({"reason": "a=b"}, 'stored reason="a=b"'),
        ({"a": 1, "b": None}, "stored a=1"),
        ({"reason": "\x1b[31m"}, r'stored reason="\u001b[31m"'),
    ],
)
def test_a_line_is_an_event_and_its_values(values: dict[str, object], text: str) -> None:
    """Values that could be misread are quoted, what is not known is left out."""
    assert line("stored", values) == text


@given(st.dictionaries(st.sampled_from(["host", "reason", "of"]), st.text()))
def test_no_value_breaks_the_line(values: dict[str, str]) -> None:
    """No line break, no control character and no second value can be smuggled in."""
    text = line("event", dict(values))
    assert text.isascii()
    assert text.isprintable()
    assert len(shlex.split(text)) == 1 + len(values)


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

"""What happened: one line and one number an event."""

import logging
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.events import SILENT_SECONDS, Events, line


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
        ({"a": 1, "b": None}, "stored a=1 b=None"),
        ({"reason": "\x1b[31m"}, r'stored reason="\u001b[31m"'),
    ],
)
def test_a_line_is_an_event_and_its_values(values: dict[str, object], text: str) -> None:
    """Values that could be misread are quoted."""
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
        events.info("stored", size=1)
        events.warn("mismatch", of="a")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "stored size=1"),
        ("WARNING", "mismatch of=a"),
    ]
    assert events.counts == {"stored": 1, "mismatch": 1}


def test_counting_alone_writes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A hit is a number, not a line."""
    events = Events()
    with caplog.at_level(logging.DEBUG, "entrepot"):
        events.count("blob_hits")
    assert not caplog.records
    assert events.counts == {"blob_hits": 1}


def test_a_repeated_warning_is_said_once_in_ten_minutes(caplog: pytest.LogCaptureFixture) -> None:
    """A broken disk fills the counter, not the log; one that is full tomorrow is not silent."""
    now = [1000.0]
    events = Events(lambda: now[0])
    for number, seconds in enumerate((0, 1, SILENT_SECONDS - 2, 1, 1, 86_400)):
        now[0] += seconds
        events.warn_once("store_failed", reason=number)
        events.warn_once(f"other_{number}")
    assert [text for r in caplog.records if "store" in (text := r.getMessage())] == [
        "store_failed reason=0",
        "store_failed reason=3 unsaid=2",
        "store_failed reason=5 unsaid=1",
    ]
    assert events.counts["store_failed"] == 6

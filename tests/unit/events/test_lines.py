"""The two formats of the log."""

import json
import logging
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.events.lines import FIELDS, LogFormat, line

MOMENT = 1_790_000_040.25


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


def _record(message: str, fields: dict[str, object] | None = None) -> logging.LogRecord:
    record = logging.LogRecord("mitmproxy.proxy", logging.WARNING, "", 0, message, None, None)
    record.created = MOMENT
    if fields is not None:
        setattr(record, FIELDS, fields)
    return record


@given(st.dictionaries(st.sampled_from(["host", "reason", "of"]), st.text() | st.integers()))
def test_json_says_the_same(values: dict[str, object]) -> None:
    """One object a line, with numbers as numbers, whatever is in the fields."""
    text = LogFormat.JSON.formatter().format(_record("", {"event": "stored", **values}))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == {
        "time": "2026-09-21T14:14:00.250Z",
        "level": "WARNING",
        "event": "stored",
        **values,
    }


def test_a_traceback_stays_with_its_line() -> None:
    """In JSON as a field, so that a line is an object for ever."""
    record = _record("", {"event": "hook_failed"})
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    text = LogFormat.JSON.formatter().format(record)
    assert "\n" not in text
    assert "ZeroDivisionError" in json.loads(text)["traceback"]


@pytest.mark.parametrize("text", ["", "JSON", "logfmt"])
def test_no_other_format(text: str) -> None:
    with pytest.raises(ValueError, match="expected text or json"):
        LogFormat.parse(text)

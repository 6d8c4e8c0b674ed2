"""The lines of the log: ``event key=value …``, or a JSON object each (``--log-format``).

No value breaks a line: in text it is quoted where it could, and JSON has no line breaks. Lines of
mitmproxy and other libraries are events too (``library_warned``).
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from types import TracebackType
from typing import TypeAlias

from entrepot.events.redaction import redacted

Trace: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)
"""As ``sys.exc_info`` has it."""

FIELDS = "entrepot_fields"
"""The attribute of a log record of ours: the event and its fields."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:/@[]*,+")


class LogFormat(Enum):
    """How lines are written; the values are those of ``--log-format``."""

    TEXT = "text"
    JSON = "json"

    @classmethod
    def parse(cls, text: str) -> "LogFormat":
        """Read the value of the option."""
        try:
            return cls(text)
        except ValueError:
            raise ValueError(f"expected text or json, got {text!r}") from None

    def formatter(self) -> logging.Formatter:
        """What writes such lines."""
        return _Json() if self is LogFormat.JSON else _Text()


def line(event: str, fields: Mapping[str, object]) -> str:
    """One line of text, whatever is in the fields."""
    values = {name: str(value) for name, value in fields.items() if value is not None}
    return " ".join([event, *(f"{name}={_quoted(value)}" for name, value in values.items())])


def _quoted(text: str) -> str:
    return text if text and set(text) <= _PLAIN else json.dumps(text)


class _Formatter(logging.Formatter):
    """The texts in a traceback are not ours, and may quote a URL."""

    def formatException(self, ei: Trace) -> str:  # noqa: N802 logging's
        return redacted(super().formatException(ei))


class _Text(_Formatter):
    """A line of text, and a traceback below it where our own code failed."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")


class _Json(_Formatter):
    """An object: time (UTC, ISO 8601), level, event, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """A line with all, a traceback as ``traceback``."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = {"time": at.replace("+00:00", "Z"), "level": record.levelname}
        fields: Mapping[str, object] = getattr(record, FIELDS)
        values = {**said, **{name: _plain(value) for name, value in fields.items()}}
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values)


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float) else str(value)

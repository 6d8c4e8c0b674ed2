"""Events are counted, and logged as one line each: ``event key=value …`` on standard error.

Values are quoted where they could break the line; no caller passes a credential, a token or a URL
with a query.
"""

import collections
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from math import inf
from types import TracebackType
from typing import TypeAlias, Unpack

from entrepot.events.counters import Counter
from entrepot.events.fields import EventFields
from entrepot.events.redaction import redacted
from entrepot.events.table import Event

Trace: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)
"""As ``sys.exc_info`` has it."""

logger = logging.getLogger("entrepot")

SILENT_SECONDS = 600.0
"""How long an event that comes again and again is not logged again."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:/@[]*,+")


class Events:
    """Counts what happens by its name, and logs what is worth a line."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        """What ``/healthz`` shows."""
        self._clock = clock
        self._logged: dict[Event, tuple[float, int]] = {}
        """When each event of `log_once` was last logged, and how many there were by then."""

    def count(self, what: Counter | Event, by: int = 1) -> None:
        """Count without a line."""
        self.counts[what.label] += by

    def log(self, event: Event, **fields: Unpack[EventFields]) -> None:
        """Count and log an event; a failure of our own code with its traceback."""
        trace = sys.exc_info() if event.row.traced else None
        self.log_traced(event, trace, **fields)

    def log_traced(
        self, event: Event, trace: Trace | None, /, **fields: Unpack[EventFields]
    ) -> None:
        """Count and log an event, with the traceback of a failure elsewhere, if there is one."""
        self.count(event)
        failed = trace is not None and trace[0] is not None
        text = line(event.label, fields)
        logger.log(event.row.level, "%s", text, exc_info=trace if failed else None)

    def log_once(self, event: Event, **fields: Unpack[EventFields]) -> None:
        """Count, and log once in ten minutes only: a broken disk would else fill the log.

        The next line tells how often it happened in between.
        """
        now, (logged, seen) = self._clock(), self._logged.get(event, (-inf, 0))
        if now < logged + SILENT_SECONDS:
            self.count(event)
            return
        between = self.counts[event.label] - seen
        if seen and between:
            fields["suppressed"] = between
        self.log(event, **fields)
        self._logged[event] = (now, self.counts[event.label])


def log_to_stderr() -> None:
    """Give our lines their own way out, whatever mitmproxy's verbosity; twice is harmless.

    urllib3 says nothing any more: it quotes whole URLs, signatures among them, with a traceback.
    """
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Formatter(logging.Formatter):
    """A line; the texts in a traceback are not ours, and may quote a URL."""

    def formatException(self, ei: Trace) -> str:  # noqa: N802 logging's
        return redacted(super().formatException(ei))


def line(event: str, fields: Mapping[str, object]) -> str:
    """One line of text, whatever is in the fields."""
    values = {name: str(value) for name, value in fields.items() if value is not None}
    return " ".join([event, *(f"{name}={_quoted(value)}" for name, value in values.items())])


def _quoted(text: str) -> str:
    return text if text and set(text) <= _PLAIN else json.dumps(text)

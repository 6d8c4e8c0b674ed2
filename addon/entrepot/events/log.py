"""Events are counted, and logged as one line each on standard error (``lines``).

No caller passes a credential, a token or a URL with a query.
"""

import collections
import logging
import sys
import time
from collections.abc import Callable
from math import inf
from typing import Unpack

from entrepot.events.counters import Counter
from entrepot.events.fields import EventFields
from entrepot.events.lines import FIELDS, LogFormat, line
from entrepot.events.table import Event

logger = logging.getLogger("entrepot")

SILENT_SECONDS = 600.0
"""How long an event that comes again and again is not logged again."""


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
        self.count(event)
        level = event.row.level
        known = {name: value for name, value in fields.items() if value is not None}
        text = line(event.label, known)
        said = {FIELDS: {"event": event.label, **known}}
        logger.log(level, "%s", text, exc_info=level >= logging.ERROR, extra=said)

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


def log_to_stderr(log_format: LogFormat = LogFormat.TEXT) -> None:
    """Give our lines their own way out, whatever mitmproxy's verbosity.

    urllib3 says nothing any more: it quotes whole URLs, signatures among them, with a traceback.
    """
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    logger.addHandler(_handler(log_format))
    logger.setLevel(logging.INFO)
    logger.propagate = False


def log_all_to_stderr(log_format: LogFormat) -> None:
    """Let the warnings of everybody else (mitmproxy, asyncio) come as our lines do."""
    handler = _handler(log_format)
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)


def _handler(log_format: LogFormat) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_format.formatter())
    return handler

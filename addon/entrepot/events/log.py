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
from entrepot.events.lines import FIELDS, LogFormat, Trace, line
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
        trace = sys.exc_info() if event.row.traced else None
        self.log_traced(event, trace, **fields)

    def log_traced(
        self, event: Event, trace: Trace | None, /, **fields: Unpack[EventFields]
    ) -> None:
        """Count and log an event, with the traceback of a failure elsewhere, if there is one."""
        self.count(event)
        failed = trace is not None and trace[0] is not None
        known = {name: value for name, value in fields.items() if value is not None}
        text = line(event.label, known)
        said = {FIELDS: {"event": event.label, **known}}
        trace = trace if failed else None
        logger.log(event.row.level, "%s", text, exc_info=trace, extra=said)

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


def log_to_stderr(log_format: LogFormat | None = None) -> None:
    """Give our lines their own way out, whatever mitmproxy's verbosity.

    They are text until a format is given, which then stays. urllib3 says nothing any more: it
    quotes whole URLs, signatures among them, with a traceback.
    """
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler(sys.stderr))
        log_format = log_format or LogFormat.TEXT
    if log_format is not None:
        for handler in logger.handlers:
            handler.setFormatter(log_format.formatter())
    logger.setLevel(logging.INFO)
    logger.propagate = False

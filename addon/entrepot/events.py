"""What happened, for the log and for the counters: one line and one number an event.

Lines read ``event key=value …``. Values are quoted where they could break the line; no caller
passes a credential, a token or a URL with a query.
"""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from math import inf

logger = logging.getLogger("entrepot")

SILENT_SECONDS = 600.0
"""How long a warning that comes again and again is not said again."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:/@[]*,+")


class Events:
    """Counts events by name and logs those worth a line."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._said: dict[str, tuple[float, int]] = {}
        """When each warning was last said, and how many there were by then."""

    def count(self, event: str) -> None:
        """Count without a line."""
        self.counts[event] += 1

    def info(self, event: str, **values: object) -> None:
        """Count and log something ordinary."""
        self._log(logging.INFO, event, values)

    def warn(self, event: str, **values: object) -> None:
        """Count and log something an administrator should look at."""
        self._log(logging.WARNING, event, values)

    def warn_once(self, event: str, **values: object) -> None:
        """Count, and log once in ten minutes only: a broken disk would else fill the log.

        What is said again tells how often it happened in between.
        """
        now, (said, seen) = self._clock(), self._said.get(event, (-inf, 0))
        if now < said + SILENT_SECONDS:
            self.count(event)
            return
        more = self.counts[event] - seen
        self.warn(event, **values, **({"unsaid": more} if seen and more else {}))
        self._said[event] = (now, self.counts[event])

    def _log(self, level: int, event: str, values: dict[str, object]) -> None:
        self.count(event)
        logger.log(level, "%s", line(event, values))


def log_to_stderr() -> None:
    """Give our lines their own way out, whatever mitmproxy's verbosity.

    urllib3 says nothing any more: it quotes whole URLs, signatures among them, with a traceback.
    """
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def line(event: str, values: dict[str, object]) -> str:
    """One line of text, whatever is in the values."""
    return " ".join([event, *(f"{key}={_quoted(str(value))}" for key, value in values.items())])


def _quoted(text: str) -> str:
    return text if text and set(text) <= _PLAIN else json.dumps(text)

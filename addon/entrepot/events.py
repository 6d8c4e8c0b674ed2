"""What happened, for the log and for the counters: one line and one number an event.

Lines read ``event key=value …``. Values are quoted where they could break the line; no caller
passes a credential, a token or a URL with a query.
"""

import json
import logging
import sys
from collections import Counter

logger = logging.getLogger("entrepot")

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:/@[]*,+")


class Events:
    """Counts events by name and logs those worth a line."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._said: set[str] = set()

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
        """Count, and log the first time only: a broken disk would else fill the log."""
        if event in self._said:
            self.count(event)
        else:
            self._said.add(event)
            self.warn(event, **values)

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

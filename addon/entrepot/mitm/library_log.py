"""The lines of mitmproxy and other libraries, as lines of ours: one format, and no secret in it.

By itself mitmproxy writes them to standard output, with the time alone before them; Python's
warnings and what ends a thread go to standard error as they are. What ``mitmdump`` says before it
has loaded this addon stays as it is.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from mitmproxy.addons.termlog import TermLogHandler

from entrepot.events.log import Events, log_to_stderr
from entrepot.events.redaction import redacted
from entrepot.events.table import Event

START = "mitmproxy.entrepot"
"""The logger by which a start fails: mitmproxy ends on an error of its own loggers only."""

_TOLD = "Client connection from "
"""What is told of who is not let in (``client_refused``), once of each and not at every try."""


class LibraryLog(logging.Handler):
    """Writes what libraries warn of, and their failures."""

    def __init__(self, events: Callable[[], Events]) -> None:
        super().__init__(logging.WARNING)
        self._events = events

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what has an event of its own."""
        return bool(super().filter(record)) and not str(record.msg).startswith(_TOLD)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as an event."""
        try:
            self._write(record)
        except Exception:  # noqa: BLE001 as logging's own handlers do
            self.handleError(record)

    def _write(self, record: logging.LogRecord) -> None:
        events, reason = self._events(), redacted(record.getMessage())
        if record.name == START:
            events.log(Event.START_FAILED, reason=record.getMessage())
        elif record.levelno >= logging.ERROR:
            client = _client_of(record)
            trace = record.exc_info or None
            events.log_traced(Event.LIBRARY_FAILED, trace, client=client, reason=reason)
        else:
            events.log(Event.LIBRARY_WARNED, client=_client_of(record), reason=reason.strip())


def take_over(events: Callable[[], Events]) -> None:
    """Have libraries' lines written by a :class:`LibraryLog`; ``events`` may change meanwhile."""
    log_to_stderr()
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, TermLogHandler | LibraryLog):
            root.removeHandler(handler)
    root.addHandler(LibraryLog(events))
    logging.captureWarnings(capture=True)
    threading.excepthook = _tell_of_thread


def _tell_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is None or issubclass(ended.exc_type, SystemExit):
        return
    name = ended.thread.name if ended.thread is not None else "a thread"
    trace = (ended.exc_type, ended.exc_value, ended.exc_traceback)
    logging.getLogger("threading").error("Exception in %s", name, exc_info=trace)


def _client_of(record: logging.LogRecord) -> Any:
    """The address of the client that mitmproxy names beside its message."""
    peer = getattr(record, "client", None)
    return peer[0] if isinstance(peer, tuple) and peer else None

"""The access log (``--access-log``): one line a request, ``request_served``, beside the events.

It is written by the recorder's thread: a standard error that nobody reads holds up no pull.
"""

from collections.abc import Sequence

from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.observe.request_record import RequestRecord


class AccessLog:
    """Logs records; see ``Writer``."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def write(self, records: Sequence[RequestRecord]) -> None:
        """Log each."""
        for record in records:
            self._log(record)

    def _log(self, record: RequestRecord) -> None:
        tagged = record.reference and ":" not in record.reference
        place = f"{record.registry}/{record.repository}" if record.repository else None
        self._events.log(
            Event.REQUEST_SERVED,
            client=record.client or None,
            agent=record.agent or None,
            road=record.road.value,
            method=record.method,
            kind=record.kind,
            host=record.registry or None,
            repository=place,
            tag=record.reference if tagged else None,
            digest=None if tagged else record.reference or None,
            status=record.status,
            answered=record.outcome.value,
            reason=record.why,
            cut=record.cut or None,
            sent=record.sent,
            from_disk=record.from_disk,
            from_upstream=record.from_upstream,
            first_byte_ms=record.first_byte_ms,
            total_ms=record.total_ms,
        )

    def upkeep(self) -> bool:
        """Nothing is ever due."""
        return False

    def close(self) -> None:
        """Nothing is held."""

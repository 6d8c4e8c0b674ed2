"""The watch of a rotation: a date that comes while the proxy runs, and what is known of clients.

Who was seen and who fetched what is announced is kept in the data folder while a rotation is under
way, since that takes longer than a proxy runs; but not where ``--record`` forbids whole addresses.
"""

from collections.abc import Callable
from pathlib import Path

from entrepot.app.authority_in_use import AuthorityInUse
from entrepot.app.clients_file import CLIENTS_NAME, read_clients, write_clients
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.maintenance.low_priority_thread import LowPriorityThread
from entrepot.storage.errors import storage_reason

_LOOK_SECONDS = 10.0
_SHORTEST_SECONDS = 0.2
_KEEP_SECONDS = 600.0
"""How often what changes with every pull is written."""
_DAY = 86400.0


class AuthorityWatch:
    """Watches from :meth:`start` to :meth:`stop`; ``clock`` never jumps."""

    def __init__(
        self,
        authority: AuthorityInUse,
        folder: Path,
        events: Events,
        clock: Callable[[], float],
        *,
        keep_addresses: bool = True,
        look: float = _LOOK_SECONDS,
    ) -> None:
        """``folder`` is the data folder, into which it looks all ``look`` seconds."""
        self._authority = authority
        self._file = folder / CLIENTS_NAME
        self._keep_addresses = keep_addresses
        self._look = look
        self._events = events
        self._clock = clock
        self._reminded = self._kept = clock()
        self._fetches = 0
        self._thread = LowPriorityThread("authority", self._work)

    def start(self) -> None:
        """Take in what was kept, say how it stands, and watch from now on."""
        if self._authority.standing.rotation is not None:
            self._authority.clients.restore(read_clients(self._file))
        self._authority.remind()
        self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._thread.stop()
        self._keep()

    def _work(self) -> None:
        while True:
            due = self._authority.seconds_to_next_step()
            self._thread.pause(min(self._look, max(due, _SHORTEST_SECONDS)))
            self._authority.refresh()
            fetches = self._authority.clients.fetches
            if fetches != self._fetches or self._clock() > self._kept + _KEEP_SECONDS:
                self._fetches = fetches
                self._keep()
            if self._clock() > self._reminded + _DAY:
                self._reminded = self._clock()
                self._authority.remind()

    def _keep(self) -> None:
        self._kept = self._clock()
        try:
            if self._authority.standing.rotation is None or not self._keep_addresses:
                self._file.unlink(missing_ok=True)
            else:
                write_clients(self._file, self._authority.clients.rows())
        except OSError as error:
            self._events.log_once(Event.ROTATION_FAILED, reason=storage_reason(error))

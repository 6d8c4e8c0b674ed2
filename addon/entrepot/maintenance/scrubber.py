"""The scrub: everything that is stored is read from time to time, before anybody asks for it.

A disk that rots tells nobody. What is served is verified (``pull.blobs.rehash_before_serving``);
this finds the rest, so that a dying disk shows in the log before it shows in a pull. All places
where bytes are verified are listed in ``storage.digest_check``.
"""

import os
from collections.abc import Callable
from functools import partial as bind

from entrepot.events.counters import Counter
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.maintenance.low_priority_thread import LowPriorityThread
from entrepot.protocol.identifiers import Digest
from entrepot.storage.digest_check import damage_of
from entrepot.storage.diskcache_db.blob_rows import VerifiedBlob
from entrepot.storage.errors import StoreError
from entrepot.storage.store_thread import StoreThread

_BYTES_A_SECOND = 32 * 1024 * 1024
"""About a sixtieth of a core; 100 GiB take an hour."""

_FIRST_SECONDS = 60.0
_PAUSE_SECONDS = 3600.0


class Scrubber:
    """Verifies every stored blob once in ``seconds``, at a bounded rate."""

    def __init__(
        self,
        store_thread: StoreThread,
        events: Events,
        wall: Callable[[], float],
        seconds: float,
    ) -> None:
        """``wall`` is the time of day."""
        self._blobs = store_thread.store.blobs
        self._store_thread = store_thread
        self._events = events
        self._wall = wall
        self._seconds = seconds
        self._thread = LowPriorityThread("scrub", self._work)

    def start(self) -> None:
        """Begin, after the rush of the start."""
        self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._thread.stop()

    def _work(self) -> None:
        self._thread.pause(min(_FIRST_SECONDS, self._seconds))
        while True:
            try:
                self._look_through()
            except StoreError as error:
                self._events.log_once(Event.SCRUB_FAILED, reason=error)
            self._thread.pause(min(_PAUSE_SECONDS, self._seconds))

    def _look_through(self) -> None:
        after = None
        while True:
            found, after = self._store_thread.run_from_thread(bind(self._blobs.page, after))
            for blob in found:
                if self._is_due(blob):
                    self._scrub(blob.digest)
            if after is None:
                return

    def _is_due(self, blob: VerifiedBlob) -> bool:
        return not 0 <= self._wall() - blob.verified < self._seconds

    def _scrub(self, digest: Digest) -> None:
        run, blobs = self._store_thread.run_from_thread, self._blobs
        file = run(lambda: blobs.peek(digest))
        if file is None:
            return
        try:
            state = os.fstat(file)
            damage = damage_of(file, digest, self._pace)
        finally:
            os.close(file)
        self._events.count(Counter.BLOB_SCRUBBED)
        if damage is None:
            run(lambda: blobs.mark_verified(digest, state))
        else:
            run(lambda: blobs.remove_damaged(digest, state, damage))

    def _pace(self, count: int) -> None:
        self._thread.pause(count / _BYTES_A_SECOND)

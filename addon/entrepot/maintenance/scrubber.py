"""The scrubber: reads everything that is stored from time to time, before anybody asks for it.

A disk that rots tells nobody. What is served is verified (see ``checks``); this finds the rest,
so that a dying disk shows in the log before it shows in a pull. One thread with the lowest
priority, at a bounded rate.
"""

import os
import threading
from functools import partial as bind

from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.protocol.identifiers import Digest
from entrepot.storage.digest_check import damage_of
from entrepot.storage.diskcache_db.blob_rows import VerifiedBlob
from entrepot.storage.errors import StoreError
from entrepot.upstream.context import Context

_BYTES_A_SECOND = 32 * 1024 * 1024
"""About a sixtieth of a core; 100 GiB take an hour."""

_FIRST_SECONDS = 60.0
_PAUSE_SECONDS = 3600.0
_LOWEST_PRIORITY = 19


class _StoppedError(Exception):
    """The proxy is stopping."""


class Scrubber:
    """Verifies every stored blob once in ``seconds``."""

    def __init__(self, context: Context, seconds: float) -> None:
        self._context = context
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scrub", daemon=True)

    def start(self) -> None:
        """Begin, after the rush of the start."""
        self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._stop.set()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        pause = min(_FIRST_SECONDS, self._seconds)
        while not self._stop.wait(pause):
            try:
                self._look_through()
            except StoreError as error:
                self._context.events.log_once(Event.SCRUB_FAILED, reason=error)
            except (_StoppedError, RuntimeError):  # the store's thread has ended
                return
            pause = min(_PAUSE_SECONDS, self._seconds)

    def _look_through(self) -> None:
        store, after = self._context.store, None
        while True:
            blobs, after = self._context.store_thread.run_from_thread(bind(store.blobs.page, after))
            for blob in blobs:
                if self._is_due(blob):
                    self._scrub(blob.digest)
            if after is None:
                return

    def _is_due(self, blob: VerifiedBlob) -> bool:
        return not 0 <= self._context.wall() - blob.verified < self._seconds

    def _scrub(self, digest: Digest) -> None:
        context, store = self._context, self._context.store
        file = context.store_thread.run_from_thread(lambda: store.blobs.peek(digest))
        if file is None:
            return
        try:
            state = os.fstat(file)
            damage = damage_of(file, digest, self._pace)
        finally:
            os.close(file)
        context.events.count(Counter.BLOB_SCRUBBED)
        if damage is None:
            context.store_thread.run_from_thread(lambda: store.blobs.mark_verified(digest, state))
        else:
            context.store_thread.run_from_thread(
                lambda: store.blobs.remove_damaged(digest, state, damage)
            )

    def _pace(self, count: int) -> None:
        if self._stop.wait(count / _BYTES_A_SECOND):
            raise _StoppedError

"""Garbage collection: the memory of closed connections is given back within a second.

A connection's layers, its TLS state and its flows hang together in cycles: few objects, which hold
hundreds of KiB. Python's collector goes by the number of objects and comes late: measured with 32
clients, resident memory rose to 170 MiB, and stays at 116 MiB with this.

A collection looks at all objects that may refer to others, and all clients wait for it. What grows
with use is kept in bytes and numbers (see ``auth.grant_memory``), so that what it looks at are the
connections that are open: 0.2 ms each, measured with 100 and 300. With very many it looks mostly at
the youngest generation alone, so that its part of the time is bounded.
"""

import asyncio
import gc
import time

from mitmproxy import connection

_SECONDS = 1.0
_MOST_OF_TIME = 0.02
_YOUNG = 1


class GarbageCollection:
    """Collects after connections have closed, once a second at most."""

    def __init__(self) -> None:
        self._planned = False
        self._next = 0.0
        """When all objects may be looked at again."""

    def running(self) -> None:
        """Take what lives as long as the process out of every collection, which makes it cheap."""
        gc.collect()
        gc.freeze()

    def client_disconnected(self, client: connection.Client) -> None:  # noqa: ARG002 - a hook
        """Plan a collection."""
        if not self._planned:
            self._plan(_SECONDS)

    def _plan(self, seconds: float) -> None:
        self._planned = True
        asyncio.get_running_loop().call_later(seconds, self._collect)

    def _collect(self) -> None:
        self._planned = False
        began = time.monotonic()
        if began < self._next:
            gc.collect(_YOUNG)
            self._plan(max(_SECONDS, self._next - began))
            return
        gc.collect()
        ended = time.monotonic()
        self._next = ended + pause_after(ended - began)


def pause_after(took: float) -> float:
    """How long not to look at all objects after the last time took so long."""
    return took / _MOST_OF_TIME

"""Digest verification at a hit: a stored blob is hashed again where there is a reason to doubt.

That is where its file was touched since it was last verified, and where that is a day ago
(``storage.diskcache_db.blob_rows``; where else bytes are verified, ``storage.digest_check`` says).
It is hashed once for all who ask, at about half a second a GiB; and only once it is decided that
the client may have the blob: else the time that it takes would tell others that the blob is here.

- Up to 1 GiB it is hashed before its first byte leaves. So a damaged one is never a broken
  transfer: it is removed, and the request goes on as a miss.
- A larger one, a model of 400 GB, would have its client wait for minutes. So it is served while it
  is hashed, and the last byte of a whole body is held back until the digest fits: what is damaged
  is never whole. It is removed then, transfers of it are cut, and who asks again gets a miss.
- Parts of a larger one (``bytes=0-99``) are served at once where nothing was written to the file
  since it was last verified: only a disk that rots could have changed it, and who asks for parts
  verifies what they make. Where something was written, they wait until it is hashed.
"""

import asyncio
import os
import threading
from dataclasses import replace

from entrepot.events.counters import Counter
from entrepot.protocol.identifiers import Digest
from entrepot.storage.blobs import StoredBlob
from entrepot.storage.digest_check import damage_of
from entrepot.upstream.context import Context

LARGE = 1024**3
"""Bytes, above which a blob is served while it is hashed."""
_AT_ONCE = 2
"""Verifications, and as many again of large blobs; each takes a core."""
_NICENESS = 10
"""Of those that take minutes: pulls come first."""


class Integrity:
    """Verifies stored blobs whose bytes cannot be trusted without that."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._small = asyncio.Semaphore(_AT_ONCE)
        self._large = asyncio.Semaphore(_AT_ONCE)
        self._running: dict[Digest, asyncio.Task[bool]] = {}

    async def verified(
        self, found: StoredBlob, digest: Digest, *, in_parts: bool
    ) -> StoredBlob | None:
        """A stored blob that may be served now; None, and it is closed, where it is damaged.

        ``in_parts``: only parts of it are asked for. Where it has a ``verdict``, the end of a whole
        body has to wait for that.
        """
        if found.sound:
            return found
        verdict = self._verdict(found, digest)
        if found.size > LARGE and (found.unwritten or not in_parts):
            return replace(found, sound=True, verdict=verdict)
        sound = False
        try:
            sound = await asyncio.shield(verdict)
        finally:
            if not sound:
                os.close(found.file)
        return replace(found, sound=True) if sound else None

    def _verdict(self, found: StoredBlob, digest: Digest) -> asyncio.Task[bool]:
        """The verification of a blob, one for all who want it."""
        task = self._running.get(digest)
        if task is None:
            large = found.size > LARGE
            task = asyncio.create_task(self._verify(os.dup(found.file), digest, large=large))
            self._running[digest] = task
            task.add_done_callback(lambda _: self._running.pop(digest))
            task.add_done_callback(_seen)
        return task

    async def _verify(self, file: int, digest: Digest, *, large: bool) -> bool:
        """Whether a file, which is closed, has the right bytes; the store hears of it."""
        context, store = self._context, self._context.store
        try:
            state = os.fstat(file)
            async with self._large if large else self._small:
                damage = await context.threads.call(lambda: _damage(file, digest, large=large))
        finally:
            os.close(file)
        context.events.count(Counter.BLOB_REHASHED)
        if damage is None:
            await context.store_thread.run(lambda: store.blobs.mark_verified(digest, state), None)
            return True
        await context.store_thread.run(
            lambda: store.blobs.remove_damaged(digest, state, damage), None
        )
        return False


def _damage(file: int, digest: Digest, *, large: bool) -> str | None:
    if large:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
    own = os.dup(file)  # whoever waits for this thread may give up, and close the file, before it
    try:
        return damage_of(own, digest)
    finally:
        os.close(own)


def _seen(task: asyncio.Task[bool]) -> None:
    if not task.cancelled():
        task.exception()  # it was seen, even where nobody waits any more

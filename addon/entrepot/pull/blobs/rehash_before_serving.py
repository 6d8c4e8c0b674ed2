"""Digest verification at a hit: a stored blob is hashed again where there is a reason to doubt.

It is hashed before its first byte leaves where its file was touched since it was last verified, and
where that is a day ago (``storage.diskcache_db.blob_rows``; where else bytes are verified,
``storage.digest_check`` says). So a damaged one is never a broken transfer: it is removed, and the
request goes on as a miss. The hash costs about half a second a GiB, once for all who ask; and only
once it is decided that the client may have the blob: else the time that it takes would tell others
that the blob is here.
"""

import asyncio
import os
from dataclasses import replace

from entrepot.events.counters import Counter
from entrepot.protocol.identifiers import Digest
from entrepot.storage.blobs import StoredBlob
from entrepot.storage.digest_check import damage_of
from entrepot.upstream.context import Context

_AT_ONCE = 2
"""Verifications; each takes a core."""


class Integrity:
    """Verifies stored blobs whose bytes cannot be trusted without that."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._verifying = asyncio.Semaphore(_AT_ONCE)

    async def verified(self, found: StoredBlob, digest: Digest) -> StoredBlob | None:
        """A stored blob that may be served now; None, and it is closed, where it is damaged."""
        if found.sound:
            return found
        sound = False
        try:
            sound, _ = await self._context.flights.once(
                ("verify", digest), lambda: self._verify(os.dup(found.file), digest)
            )
        finally:
            if not sound:
                os.close(found.file)
        return replace(found, sound=True) if sound else None

    async def _verify(self, file: int, digest: Digest) -> bool:
        """Whether a file, which is closed, has the right bytes; the store hears of it."""
        context, store = self._context, self._context.store
        try:
            state = os.fstat(file)
            async with self._verifying:
                damage = await context.threads.call(lambda: damage_of(file, digest))
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

"""What clients push, kept as it passes so that the first pull of it is a hit.

A push never waits for this, and never fails by it. What a registry's 201 says: that this
repository has this object. It says nothing of who may *read* it, not even of the one who pushed
it (there are accounts that may only push), so it allows nothing: a pull asks the registry as
ever, by the one HEAD that it sends anyway.

The way of an upload: what its request is to a push is read (``upload_protocol``); its body is
tapped on its way to the registry (``request_tap``) into a file (``draft_files``); at the registry's
201 the file becomes a blob (``blob_uploads``), for which a pull waits a while
(``pending_commits``). A manifest stays in memory instead (``manifest_puts``).
"""

import asyncio

from entrepot.events.log import Events
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.messages import Request
from entrepot.protocol.routes import Endpoint
from entrepot.push.blob_uploads import BlobUploads
from entrepot.push.draft_files import Drafts
from entrepot.push.manifest_puts import ManifestPuts
from entrepot.push.pending_commits import PendingCommits
from entrepot.push.request_tap import RequestTap
from entrepot.push.upload_protocol import BeginUpload, ContinueUpload, PutManifest, read_step
from entrepot.storage.store_thread import StoreThread

IDLE_SECONDS = 600.0


class PushCapture:
    """Taps the requests of pushes, all on one event loop."""

    def __init__(
        self, store_thread: StoreThread, events: Events, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        """``idle_seconds`` is how long an upload may rest between two of its requests."""
        self._pending = PendingCommits()
        self._drafts = Drafts(store_thread)
        self._manifests = ManifestPuts(store_thread, events, self._pending)
        self._uploads = BlobUploads(store_thread, events, self._drafts, self._pending, idle_seconds)

    def watch(self, request: Request, endpoint: Endpoint, size: int | None) -> RequestTap | None:
        """Tap a request, whose body has ``size`` bytes where that is said beforehand.

        None where it is of no push, or of none that is known here.
        """
        step = read_step(request, endpoint)
        match step:
            case BeginUpload():
                return self._uploads.begin(request, step, size)
            case ContinueUpload():
                return self._uploads.go_on(request, step, size)
            case PutManifest():
                return self._manifests.put(request, step)
        return None

    async def blob_settled(self, repository: Repository, digest: Digest) -> None:
        """Wait a while for a blob that was pushed just now."""
        await self._pending.settled((repository.origin, digest))

    async def manifests_settled(self, repository: Repository) -> None:
        """Wait a while for manifests that were pushed just now."""
        await self._pending.settled(repository)

    def forget(self, repository: Repository, digest: Digest) -> None:
        """Do not store what was just pushed of a blob: a client has deleted it there."""
        self._uploads.forget(repository, digest)

    async def stop(self, seconds: float) -> None:
        """Drop what is unfinished; wait for what is being stored."""
        self._uploads.stop()
        await self._pending.stop(seconds)
        await asyncio.to_thread(self._drafts.close)

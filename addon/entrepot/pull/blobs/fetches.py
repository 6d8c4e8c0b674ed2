"""Single flight for blobs: at most one running fetch for each blob of a registry.

It is fetched as the client that asks first; whoever asks meanwhile follows the same download. It
goes on when all clients have left. How it starts is in ``fetch_start``, what becomes of it in
``commit``.
"""

import asyncio
import contextlib
from dataclasses import dataclass, replace

from entrepot.auth.credentials import Credential
from entrepot.auth.grants import Asked
from entrepot.events.counters import Counter
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.messages import Answer, Request
from entrepot.pull.authorization import Authorization
from entrepot.pull.blobs.fetch_start import FetchStart, OpenDownload
from entrepot.pull.blobs.unstored import Unstored
from entrepot.pull.pull import Key, Pull
from entrepot.transfer.download import Download
from entrepot.transfer.growing_file import State
from entrepot.transfer.single_flight import Audience
from entrepot.upstream.context import Context


@dataclass(frozen=True, slots=True)
class _PendingGrant:
    """A grant that counts once the fetch is verified, which shows that it is of the blob.

    Without the client's request, which would be held in memory as long as the download.
    """

    repository: Repository
    who: Credential
    asked: Asked


class Fetches:
    """The fetches that run, or are being asked for; all on one event loop."""

    def __init__(self, context: Context, authorization: Authorization) -> None:
        self._context = context
        self.running: dict[Key, Download] = {}
        self.ended = 0
        """How many have ended: what was not found before one ended may be found after."""
        self.unstored = Unstored(context, authorization)
        self._start = FetchStart(context, authorization, self.unstored, self.running, self._end)
        self._opening: dict[Key, tuple[asyncio.Task[OpenDownload | Answer], Audience]] = {}
        self._pending_grants: dict[Key, list[_PendingGrant]] = {}

    def has(self, key: Key) -> bool:
        """Whether a blob is being fetched, or asked for."""
        return key in self.running or key in self._opening

    async def wait_opened(self, key: Key, request: Request) -> bool:
        """Wait until upstream answered the client that asked first; whether there was one."""
        opening = self._opening.get(key)
        if opening is not None:
            task, audience = opening
            audience.join(request)
            await asyncio.wait([task])
        return opening is not None

    def start(self, pull: Pull) -> asyncio.Task[OpenDownload | Answer]:
        """Fetch as this client: a download to read, or an answer where none came of it.

        The task raises ``UpstreamError``.
        """
        key, audience = pull.key, Audience()
        audience.join(pull.request)
        shared = replace(pull.request, is_awaited=audience.is_there)
        task = asyncio.create_task(self._start_fetch(replace(pull, request=shared)))
        self._opening[key] = (task, audience)
        task.add_done_callback(lambda _: self._opening.pop(key))
        return task

    async def _start_fetch(self, pull: Pull) -> OpenDownload | Answer:
        asked = self._context.access.asked(self._context.clock())
        begun = await self._start.start(pull, asked)
        if isinstance(begun, OpenDownload):
            self.running[pull.key] = begun.download
            begun.download.clients.put(pull.request.client, None)
            self.grant_when_verified(pull, asked)
            self._context.events.count(Counter.BLOB_MISSES)
        return begun

    def follow(self, pull: Pull) -> OpenDownload:
        """Read a running download, for a client that its repository allows the blob."""
        download = self.running[pull.key]
        download.repositories.add(pull.repository)
        download.clients.put(pull.request.client, None)
        return OpenDownload(download, download.file.body(0, None, early=True))

    def grant_when_verified(self, pull: Pull, asked: Asked) -> None:
        """Grant what upstream allowed, once the running fetch is verified."""
        pending = _PendingGrant(pull.repository, pull.who, asked)
        self._pending_grants.setdefault(pull.key, []).append(pending)

    def has_pending_grant(self, pull: Pull) -> bool:
        """Whether upstream allowed this client lately what is being fetched."""
        access, now = self._context.access, self._context.clock()
        return any(
            pending.repository == pull.repository
            and pending.who.fingerprint == pull.who.fingerprint
            and access.still_counts(pull.repository, pull.who, pull.digest, pending.asked, now)
            for pending in self._pending_grants.get(pull.key, ())
        )

    def forget(self, repository: Repository, digest: Digest) -> None:
        """Let a running fetch not be linked to a repository that has the blob no more."""
        download = self.running.get((repository.origin, digest))
        if download is not None:
            download.repositories.discard(repository)

    async def stop(self, seconds: float) -> None:
        """End every download, keeping what it has; wait for those that are just committing."""
        running = list(self.running.values())
        for download in running:
            download.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for download in running:
                    await download.retired.wait()

    def _end(self, key: Key) -> None:
        download = self.running.pop(key)
        self.ended += 1
        for pending in self._pending_grants.pop(key, ()):
            if download.file.state is State.VERIFIED:
                self._context.access.allow(
                    pending.repository, pending.who, (key[1],), pending.asked
                )

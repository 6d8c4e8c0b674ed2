"""Single flight for blobs: at most one running fetch for each blob of a registry.

The first who asks leads it, as whom it is fetched; whoever comes meanwhile follows. It goes on
when all of them have left. How it starts is in ``fetch_start``, what becomes of it in ``commit``.
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
from entrepot.pull.blobs.fetch_start import FetchStart, Led
from entrepot.pull.blobs.unstored import Unstored
from entrepot.pull.pull import Key, Pull
from entrepot.transfer.download import Download
from entrepot.transfer.growing_file import State
from entrepot.transfer.single_flight import Audience
from entrepot.upstream.context import Context


@dataclass(frozen=True, slots=True)
class _Promise:
    """A grant that is to count once the fetch is verified.

    Upstream allows it, but did not show yet that what it answers with is the blob. Without the
    request, which would be held as long as the download.
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
        self._opening: dict[Key, tuple[asyncio.Task[Led | Answer], Audience]] = {}
        self._promises: dict[Key, list[_Promise]] = {}

    def has(self, key: Key) -> bool:
        """Whether a blob is being fetched, or asked for."""
        return key in self.running or key in self._opening

    async def opened(self, key: Key, request: Request) -> bool:
        """Wait until it is known what upstream says to the one who asked first; whether any did."""
        opening = self._opening.get(key)
        if opening is not None:
            task, audience = opening
            audience.join(request)
            await asyncio.wait([task])
        return opening is not None

    def lead(self, pull: Pull) -> asyncio.Task[Led | Answer]:
        """Fetch as this client: a fetch to follow, or an answer where none came of it.

        The task raises ``UpstreamError``.
        """
        key, audience = pull.key, Audience()
        audience.join(pull.request)
        shared = replace(pull.request, is_awaited=audience.is_there)
        task = asyncio.create_task(self._lead(replace(pull, request=shared)))
        self._opening[key] = (task, audience)
        task.add_done_callback(lambda _: self._opening.pop(key))
        return task

    async def _lead(self, pull: Pull) -> Led | Answer:
        asked = self._context.access.asked(self._context.clock())
        led = await self._start.start(pull, asked)
        if isinstance(led, Led):
            self.running[pull.key] = led.download
            self.promise(pull, asked)
            self._context.events.count(Counter.BLOB_MISSES)
        return led

    def join(self, pull: Pull) -> Led:
        """Follow a running fetch."""
        download = self.running[pull.key]
        download.repositories.add(pull.repository)
        return Led(download, download.body(0, None))

    def promise(self, pull: Pull, asked: Asked) -> None:
        """Grant what upstream allowed, once the running fetch is verified."""
        promise = _Promise(pull.repository, pull.who, asked)
        self._promises.setdefault(pull.key, []).append(promise)

    def is_promised(self, pull: Pull) -> bool:
        """Whether this client follows a running fetch already."""
        access, now = self._context.access, self._context.clock()
        return any(
            promise.repository == pull.repository
            and promise.who.fingerprint == pull.who.fingerprint
            and access.still_counts(pull.repository, pull.who, pull.digest, promise.asked, now)
            for promise in self._promises.get(pull.key, ())
        )

    def forget(self, repository: Repository, digest: Digest) -> None:
        """Let a running fetch not speak for a repository that has the blob no more."""
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
        for promise in self._promises.pop(key, ()):
            if download.state is State.VERIFIED:
                self._context.access.allow(
                    promise.repository, promise.who, (key[1],), promise.asked
                )

"""The running fetches: at most one for each blob of a registry, started by the first who asks.

What becomes of one is decided here: committed and linked, kept to be continued, or discarded.
"""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from functools import partial as bind
from pathlib import Path

from entrepot.auth.credentials import Credential
from entrepot.auth.grants import Asked
from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import content_fields, without
from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.protocol.messages import Answer, Fields, Request, error_answer
from entrepot.protocol.network_reach import Reach
from entrepot.pull import authorization
from entrepot.storage.capacity.download_claims import Fit
from entrepot.storage.errors import StoreError, storage_reason
from entrepot.transfer.bodies import FileBody
from entrepot.transfer.download import Download
from entrepot.transfer.download_limits import make_way, slow_ones
from entrepot.transfer.errors import DownloadError, GaveWay, MismatchError
from entrepot.transfer.growing_file import State
from entrepot.transfer.range_answers import wants_part
from entrepot.transfer.single_flight import Audience
from entrepot.upstream.context import Context

Key = tuple[Origin, Digest]

_WAY_SECONDS = 1.0
"""How long a fetch waits for others to make way."""


@dataclass(frozen=True, slots=True)
class Led:
    """A fetch that has begun, and its file, held open for the one who began it."""

    download: Download
    opened: FileBody


@dataclass(frozen=True, slots=True)
class Claim:
    """That upstream allows a credential a blob that is still being fetched.

    It was not yet shown that what it answers with is the blob.
    """

    repository: Repository
    who: Credential
    asked: Asked


class Fetches:
    """Single flight for blobs; belongs to one event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.running: dict[Key, Download] = {}
        self.ended = 0
        """How many have ended: what was not found before one ended may be found after."""
        self._opening: dict[Key, tuple[asyncio.Task[Led | Answer], Audience]] = {}
        self._beginning: dict[Key, Download] = {}
        self._claims: dict[Key, list[Claim]] = {}

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

    def lead(
        self, request: Request, repository: Repository, digest: Digest, who: Credential
    ) -> asyncio.Task[Led | Answer]:
        """Fetch as this client: a fetch to follow, or an answer where none came of it.

        The task raises ``UpstreamError``.
        """
        key, audience = (repository.origin, digest), Audience()
        audience.join(request)
        shared = replace(request, is_awaited=audience.is_there)
        task = asyncio.create_task(self._open(shared, repository, digest, who))
        self._opening[key] = (task, audience)
        task.add_done_callback(lambda _: self._opening.pop(key))
        return task

    def join(self, key: Key, repository: Repository) -> Led:
        """Follow a running fetch."""
        download = self.running[key]
        download.repositories.add(repository)
        return Led(download, download.file.body(0, None))

    def claim(self, key: Key, claim: Claim) -> None:
        """Remember what upstream allowed once the running fetch is verified."""
        self._claims.setdefault(key, []).append(claim)

    def admits(self, key: Key, repository: Repository, who: Credential) -> bool:
        """Whether this client follows a running fetch already."""
        access, now = self._context.access, self._context.clock()
        return any(
            claim.repository == repository
            and claim.who.fingerprint == who.fingerprint
            and access.still_counts(repository, who, key[1], claim.asked, now)
            for claim in self._claims.get(key, ())
        )

    async def pass_on(
        self, request: Request, repository: Repository, digest: Digest, who: Credential
    ) -> Answer:
        """Upstream's own answer to this client, kept nowhere."""
        reply = await self._context.gateway.send(request, downgrade=True)
        if reply.status not in (200, 206):
            await authorization.refused(self._context, reply, repository, digest, who)
            return await self._context.relay.answer(request, reply)
        return await self._unstored(request, reply, digest)

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

    # Opening

    async def _open(
        self, request: Request, repository: Repository, digest: Digest, who: Credential
    ) -> Led | Answer:
        context, key = self._context, (repository.origin, digest)
        asked = context.access.asked(context.clock())
        path = context.store.partials.download(repository.origin, digest)
        await context.store_thread.run(bind(context.store.downloads.hold, path), None)
        download = self._prepare(request, repository, digest, who, asked)
        began = False
        try:
            reply = await self._get(request, download)
            if reply.status not in (200, 206):
                await authorization.refused(context, reply, repository, digest, who)
                return await context.relay.answer(request, reply)
            if download is None or not await self._begin(key, download, reply):
                return await self._unstored(request, reply, digest)
            # First what may fail: one that is registered and never ends would hold up all who ask.
            led = Led(download, download.file.body(0, None))
            download.repositories.add(repository)
            download.start()
            self.running[key] = download
            self.claim(key, Claim(repository, who, asked))
            context.events.count(Counter.BLOB_MISSES)
            began = True
            return led
        finally:
            self._beginning.pop(key, None)
            if not began:
                await self._let_go(path, download)

    async def _let_go(self, path: Path, download: Download | None) -> None:
        """Leave what is there of a fetch that did not begin to the next."""
        context, release = self._context, bind(self._context.store.downloads.release, path)
        # Not by ``stored``: while the store rests, that would leave the room claimed.
        with contextlib.suppress(StoreError, RuntimeError):
            await context.threads.call(lambda: context.store_thread.run_from_thread(release))
        if download is not None:
            download.file.discard_if_empty()
            download.file.close()

    async def _get(self, request: Request, download: Download | None) -> Reply:
        at = download.file.written if download else 0
        part = _range_from(at)
        reply = await self._context.gateway.send_patiently(request, extra=part, downgrade=True)
        if reply.status == 416 and download is not None and at:
            reply.close()  # what is here is longer than the blob: it cannot be a part of it
            download.file.restart()
            reply = await self._context.gateway.send(request, downgrade=True)
        return reply

    async def _begin(self, key: Key, download: Download, reply: Reply) -> bool:
        """Give ``reply`` to the download; False where it cannot be stored."""
        context = self._context
        try:
            size = download.accept(reply)
        except DownloadError as error:
            context.events.log(Event.FETCH_BROKEN, digest=download.digest, reason=error, kept=0)
            return False
        except OSError as error:
            context.events.log_once(Event.STORE_FAILED, reason=storage_reason(error))
            return False
        if not make_way({**self.running, **self._beginning}, key[0]):
            context.events.log_once(Event.DOWNLOADS_FULL, registry=key[0], digest=download.digest)
            return False
        self._beginning[key] = download
        granted = await self._admit(download.file.path, size)
        if not granted:
            context.events.log_once(Event.STORE_FULL, digest=download.digest, size=size)
        return granted

    async def _admit(self, path: Path, size: int | None) -> bool:
        """Whether there is room, after those that do not move made some where it is short."""
        admit = bind(self._context.store.downloads.admit, path, size)
        fit = await self._context.store_thread.run(admit, otherwise=Fit.NEVER)
        if fit is Fit.NOT_NOW and (slow := slow_ones(self.running)):
            for download in slow:
                download.give_way("it hardly moves, and others need its room")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WAY_SECONDS):
                    for download in slow:
                        await download.retired.wait()
            fit = await self._context.store_thread.run(admit, otherwise=Fit.NEVER)
        return fit is Fit.YES

    def _prepare(
        self,
        request: Request,
        repository: Repository,
        digest: Digest,
        who: Credential,
        asked: Asked,
    ) -> Download | None:
        """Make a download, or None where the folder takes none."""
        context = self._context
        target = Target(request.origin, request.target)

        def get(target: Target, reach: Reach, fields: Fields) -> Reply:
            return context.gateway.upstream.send(
                "GET", target, fields, SendOptions(Follow.ANY, reach=reach, downgrade=True)
            )

        def ask(extra: Fields) -> Reply:
            fields = (*content_fields(request), *extra)
            return context.gateway.account_auth.send(
                request, fields, bind(get, target, context.gateway.reach_of(request))
            )

        def reopen(offset: int) -> Reply:
            context.events.count(Counter.RESUMED_FETCHES)
            return ask(_range_from(offset))

        def part(reply: Reply, start: int, stop: int) -> Reply:
            context.events.count(Counter.PARALLEL_FETCHES)
            wanted = ("Range", f"bytes={start}-{stop - 1}")
            fields = (*without(reply.asked, ("range",)), wanted)
            found = get(reply.target, reply.reach, fields)
            if found.status == 206 or (reply.target == target and request.account is None):
                return found
            found.close()  # a signed address or a token ends; the registry gives a new one
            return ask((wanted,))

        try:
            return Download(
                digest,
                context.store.partials.download(repository.origin, digest),
                reopen=reopen,
                part=part,
                claim=self._claim,
                finish=bind(self._finish, Claim(repository, who, asked)),
                ended=bind(self._end, (repository.origin, digest)),
                loop=asyncio.get_running_loop(),
                clock=context.clock,
            )
        except OSError as error:
            context.events.log_once(Event.STORE_FAILED, reason=storage_reason(error))
            return None

    async def _unstored(self, request: Request, reply: Reply, digest: Digest) -> Answer:
        """Serve a blob that cannot be stored: upstream's bytes, verified on their way."""
        context = self._context
        context.events.count(Counter.BLOB_UNSTORED)
        if wants_part(request) or reply.status != 200:
            reply.close()
            part: Fields = tuple(("Range", value) for value in request.values("Range"))
            reply = await context.gateway.send(request, extra=part)  # a part cannot be verified
            if reply.status != 200:
                return await context.relay.answer(request, reply)
        if reply.length == 0 and digest != Digest.of(b"", digest.algorithm):
            reply.close()
            context.events.log(
                Event.DIGEST_MISMATCHED, digest=digest, registry=request.origin, reason="empty"
            )
            return error_answer(502, "DIGEST_INVALID", f"upstream sent nothing for {digest}")
        headers: Fields = (
            ("Content-Type", reply.value("Content-Type") or "application/octet-stream"),
            ("Docker-Content-Digest", str(digest)),
            cache_status.UNSTORED,
        )
        if reply.length is not None:
            headers = (("Content-Length", str(reply.length)), *headers)
        return Answer(200, headers, context.relay.body(request, reply, digest=digest))

    # On the download's thread

    def _claim(self, download: Download, end: int) -> int:
        store = self._context.store
        # What nobody waits for and says no end of itself takes nobody's place.
        evict = download.file.size is not None or download.file.is_followed
        claim = bind(
            store.downloads.claim, download.file.path, end, download.file.written, evict=evict
        )
        try:
            return self._context.store_thread.run_from_thread(claim)
        except (StoreError, RuntimeError):
            return 0

    def _finish(self, claim: Claim, download: Download) -> None:
        """Commit, or clear away what is of no use; ``claim`` is that of who began it."""
        if download.file.error is None:
            self._commit(claim, download)
        else:
            self._report(claim.repository, download, download.file.error)
        with contextlib.suppress(StoreError, RuntimeError):
            self._context.store_thread.run_from_thread(
                bind(self._context.store.downloads.release, download.file.path)
            )

    def _commit(self, claim: Claim, download: Download) -> None:
        context, store, events = self._context, self._context.store, self._context.events
        digest, repository = download.digest, claim.repository

        def commit() -> None:
            """What is heard while this runs is written after it."""
            label = authorization.given_to(context, repository, digest, claim.who, claim.asked)
            path, media_type = download.file.path, download.media_type
            store.blobs.commit(path, repository, digest, media_type, given_to=label)
            deleted = context.access.is_deleted(repository, digest, claim.asked)
            if deleted or repository not in download.repositories:
                store.links.remove(repository, digest)
            for other in set(download.repositories) - {repository}:
                store.links.confirm(other, digest, given_to=None)

        try:
            context.store_thread.run_from_thread(commit)
        except (StoreError, RuntimeError) as problem:
            events.log_once(Event.STORE_FAILED, reason=problem)
        else:
            events.log(
                Event.BLOB_STORED, digest=digest, size=download.file.size, repository=repository
            )

    def _report(self, repository: Repository, download: Download, error: Exception) -> None:
        useless = isinstance(error, MismatchError | OSError) or download.file.written == 0
        kept = 0 if useless else download.file.written
        if useless:
            download.file.path.unlink(missing_ok=True)
        if isinstance(error, GaveWay):
            digest = download.digest
            self._context.events.log(
                Event.FETCH_YIELDED, digest=digest, repository=repository, reason=error, kept=kept
            )
            return
        self._context.events.log(
            Event.DIGEST_MISMATCHED if isinstance(error, MismatchError) else Event.FETCH_BROKEN,
            digest=download.digest,
            repository=repository,
            reason=storage_reason(error) if isinstance(error, OSError) else error,
            kept=kept,
        )

    # Back on the loop

    def _end(self, key: Key) -> None:
        download = self.running.pop(key)
        self.ended += 1
        for claim in self._claims.pop(key, ()):
            if download.file.state is State.VERIFIED:
                self._context.access.allow(claim.repository, claim.who, (key[1],), claim.asked)


def _range_from(offset: int) -> Fields:
    """Ask for what follows ``offset``, and one byte before it.

    The overlap keeps the answer a 206 where the file is whole already: asking from its end
    would be a 416, which says nothing of the bytes.
    """
    return (("Range", f"bytes={offset - 1}-"),) if offset > 0 else ()

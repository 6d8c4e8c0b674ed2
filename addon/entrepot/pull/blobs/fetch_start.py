"""The start of a fetch: upstream is asked as the client, and a download made of its answer.

What an earlier fetch left behind is continued by Range (RFC 9110 section 14.2). A blob for which
there is no room, or no place among the running downloads, is served without storing it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from entrepot.auth.grants import Asked
from entrepot.events.table import Event
from entrepot.http_client.response import Reply
from entrepot.protocol.messages import Answer, Request
from entrepot.pull.authorization import Authorization
from entrepot.pull.blobs.blob_source import BlobSource, range_from
from entrepot.pull.blobs.commit import Commit
from entrepot.pull.blobs.first_part import first_part, fits_part, is_beyond
from entrepot.pull.blobs.unstored import Unstored
from entrepot.pull.pull import Key, Pull
from entrepot.storage.capacity.download_claims import Fit
from entrepot.storage.errors import StoreError, storage_reason
from entrepot.transfer.bodies import FileBody
from entrepot.transfer.download import Download
from entrepot.transfer.download_limits import make_way, slow_ones
from entrepot.transfer.errors import DownloadError
from entrepot.upstream.context import Context
from entrepot.upstream.gateway import AskOptions

_WAY_SECONDS = 1.0
"""How long a fetch waits for others to make way."""


@dataclass(frozen=True, slots=True)
class OpenDownload:
    """A running download, and its file, held open for one client that reads it."""

    download: Download
    opened: FileBody


class FetchStart:
    """Starts downloads."""

    def __init__(
        self,
        context: Context,
        authorization: Authorization,
        unstored: Unstored,
        running: Mapping[Key, Download],
        ended: Callable[[Key], None],
    ) -> None:
        """``running`` are all downloads that run; ``ended`` hears of each that has ended."""
        self._context = context
        self._authorization = authorization
        self._unstored = unstored
        self._running = running
        self._ended = ended
        self._commit = Commit(context.store_thread, context.events, context.access, authorization)
        self._beginning: dict[Key, Download] = {}
        """Those that wait for room: they count as running where places are scarce."""

    async def start(self, pull: Pull, asked: Asked) -> OpenDownload | Answer:
        """Ask upstream for a blob: a fetch that runs, or an answer where none came of it.

        Raises ``UpstreamError``.
        """
        context = self._context
        path = context.store.partials.download(pull.repository.origin, pull.digest)
        await context.store_thread.run(partial(context.store.downloads.hold, path), None)
        download = self._prepare(pull, asked, path)
        begun = None
        try:
            reply, is_part = await self._get(pull, download)
            if reply.status not in (200, 206):
                await self._authorization.revoke(pull, reply)
                return await context.relay.answer(pull.request, reply)
            if download is None or not await self._begin(
                pull.key, download, reply, is_part=is_part
            ):
                return await self._unstored.stream(pull, reply)
            # First what may fail: one that is registered and never ends would hold up all who ask.
            opened = download.file.body(0, None, early=True)
            download.repositories.add(pull.repository)
            download.start()
            begun = OpenDownload(download, opened)
            return begun
        finally:
            self._beginning.pop(pull.key, None)
            if begun is None:
                await self._let_go(path, download)

    async def _let_go(self, path: Path, download: Download | None) -> None:
        """Leave what is there of a fetch that did not begin to the next."""
        context, release = self._context, partial(self._context.store.downloads.release, path)
        # Not by ``run``: while the store rests, that would leave the room claimed.
        with contextlib.suppress(StoreError, RuntimeError):
            await context.threads.call(lambda: context.store_thread.run_from_thread(release))
        if download is not None:
            download.file.discard_if_empty()
            download.file.close()

    async def _get(self, pull: Pull, download: Download | None) -> tuple[Reply, bool]:
        """Ask for what the client waits for: upstream's answer, and whether it is a part of that.

        Else it is what follows what is here.
        """
        part = None if download is None else first_part(pull.request, pull.digest, download.file)
        if part is None or download is None:
            return await self._get_rest(pull.request, download), False
        gateway = self._context.gateway
        options = AskOptions(extra=(part,), downgrade=True)
        reply = await gateway.send_patiently(pull.request, options)
        if reply.status == 416 and download.file.written and not is_beyond(part, download.file):
            reply.close()  # what is here may be longer than the blob
            download.file.restart()
            return await self._get(pull, download)
        if reply.status == 200:
            download.expect_no_parts()
        if reply.status != 206 or fits_part(reply, part):
            return reply, reply.status == 206
        reply.close()
        return await self._get_rest(pull.request, download), False

    async def _get_rest(self, request: Request, download: Download | None) -> Reply:
        gateway, at = self._context.gateway, download.file.end_from(0) if download else 0
        rest = AskOptions(extra=range_from(at), downgrade=True)
        reply = await gateway.send_patiently(request, rest)
        if reply.status == 416 and download is not None and at:
            reply.close()  # what is here is longer than the blob: it cannot be a part of it
            download.file.restart()
            reply = await gateway.send(request, AskOptions(downgrade=True))
        return reply

    async def _begin(self, key: Key, download: Download, reply: Reply, *, is_part: bool) -> bool:
        """Give ``reply`` to the download; False where it cannot be stored."""
        context = self._context
        try:
            size = download.accept_part(reply) if is_part else download.accept(reply)
        except DownloadError as error:
            context.events.log(Event.FETCH_BROKEN, digest=download.digest, reason=error, kept=0)
            return False
        except OSError as error:
            context.events.log_once(Event.STORE_FAILED, reason=storage_reason(error))
            return False
        if not make_way({**self._running, **self._beginning}, key[0]):
            context.events.log_once(Event.DOWNLOADS_FULL, registry=key[0], digest=download.digest)
            return False
        self._beginning[key] = download
        granted = await self._admit(download.file.path, size)
        if not granted:
            context.events.log_once(Event.STORE_FULL, digest=download.digest, size=size)
        return granted

    async def _admit(self, path: Path, size: int | None) -> bool:
        """Whether there is room, after those that do not move made some where it is short."""
        admit = partial(self._context.store.downloads.admit, path, size)
        fit = await self._context.store_thread.run(admit, otherwise=Fit.NEVER)
        if fit is Fit.NOT_NOW and (slow := slow_ones(self._running)):
            for download in slow:
                download.give_way("it hardly moves, and others need its room")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WAY_SECONDS):
                    for download in slow:
                        await download.retired.wait()
            fit = await self._context.store_thread.run(admit, otherwise=Fit.NEVER)
        return fit is Fit.YES

    def _prepare(self, pull: Pull, asked: Asked, path: Path) -> Download | None:
        """Make a download, or None where the folder takes none."""
        try:
            return Download(
                pull.digest,
                path,
                source=BlobSource(self._context, pull.request),
                claim=self._commit.claim_room,
                finish=partial(self._commit.finish, pull, asked),
                ended=partial(self._ended, pull.key),
                loop=asyncio.get_running_loop(),
                clock=self._context.clock,
                completes=self._context.completes(pull.repository.origin),
            )
        except OSError as error:
            self._context.events.log_once(Event.STORE_FAILED, reason=storage_reason(error))
            return None

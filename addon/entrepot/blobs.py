"""Blobs: answered from the store, from a running download, or by starting one.

For each request, in this order: a hit that a remembered decision covers; upstream's decision
where the bytes are here or on their way; else one fetch as this client, which is upstream's
decision too. Whoever asks for the same blob of the same registry meanwhile follows that fetch,
each with a decision of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial as bind

from entrepot import permission
from entrepot.access import Credential
from entrepot.body import ContinuedBody, FileBody, ReplyBody
from entrepot.content import Content, content_answer, wants_part
from entrepot.download import Broken, Download, MismatchError
from entrepot.driver import Driver, forwarded
from entrepot.message import Answer, Body, BodyError, Fields, Request, cache_status, error_answer
from entrepot.reference import Digest, Origin, Repository
from entrepot.store import StoredBlob, StoreError
from entrepot.upstream import Reply, Target

Key = tuple[Origin, Digest]


class Blobs:
    """Answers GET and HEAD of blobs."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._downloads: dict[Key, Download] = {}
        self._opening: dict[Key, asyncio.Future[None]] = {}

    @property
    def running(self) -> int:
        """How many downloads there are."""
        return len(self._downloads)

    def stop(self) -> None:
        """End every download, keeping what it has."""
        for download in list(self._downloads.values()):
            download.stop()

    async def answer(self, request: Request, repository: Repository, digest: Digest) -> Answer:
        """Answer a request for a blob. Raises ``UpstreamError``."""
        driver = self._driver
        who = driver.access.credential(request)
        key = (repository.origin, digest)
        asked = False
        while True:
            found = await driver.stored(lambda: driver.store.find_blob(repository, digest), None)
            download = self._downloads.get(key)
            if found is None and download is None and key not in self._opening:
                if request.method == "HEAD":
                    return await self._head(request, repository, digest, who)
                return await self._lead(request, repository, digest, who)
            if not asked and not self._decided(repository, digest, who, found, download):
                _drop(found)
                refusal = await permission.ask(driver, request, repository, digest, who)
                if refusal is not None:
                    return refusal
                asked = True
                continue
            if found is not None:
                return self._hit(request, digest, found)
            download = self._downloads.get(key)
            if download is not None:
                download.repositories.add(repository)
                return await self._follow(request, download, "collapsed")
            opening = self._opening.get(key)
            if opening is not None:
                await asyncio.shield(opening)

    def _decided(
        self,
        repository: Repository,
        digest: Digest,
        who: Credential,
        found: StoredBlob | None,
        download: Download | None,
    ) -> bool:
        """Whether ``who`` is known to be allowed a blob that ``repository`` is known to have."""
        here = (found is not None and found.linked) or (
            download is not None and repository in download.repositories
        )
        access, now = self._driver.access, self._driver.clock()
        return here and access.is_allowed(repository, who, digest, now)

    def _hit(self, request: Request, digest: Digest, found: StoredBlob) -> Answer:
        self._driver.events.count("blob_hits")
        content = Content(
            digest,
            found.media_type,
            found.size,
            lambda start, stop: FileBody(found.file, start, stop),
            age=self._driver.clock() - found.stored,
        )
        answer = content_answer(request, content, "hit", ranges=True)
        if isinstance(answer.content, bytes):
            _drop(found)
        return answer

    async def _head(
        self, request: Request, repository: Repository, digest: Digest, who: Credential
    ) -> Answer:
        reply = await self._driver.send(request, downgrade=True)
        if reply.status == 200:
            await permission.allow(self._driver, repository, digest, who)
        else:
            await permission.refused(self._driver, reply, repository, digest, who)
        return await self._driver.relay(request, reply)

    # A miss

    async def _lead(
        self, request: Request, repository: Repository, digest: Digest, who: Credential
    ) -> Answer:
        """Fetch as this client. A task of its own: the client's leaving must not end it."""
        key = (repository.origin, digest)
        opening = asyncio.get_running_loop().create_future()
        self._opening[key] = opening
        task = asyncio.create_task(self._open(request, repository, digest, who))

        def opened(_: object) -> None:
            del self._opening[key]
            opening.set_result(None)

        task.add_done_callback(opened)
        return await asyncio.shield(task)

    async def _open(
        self, request: Request, repository: Repository, digest: Digest, who: Credential
    ) -> Answer:
        driver = self._driver
        download = self._prepare(request, repository, digest, who)
        at = download.written if download else 0
        reply = await self._get(request, download, at)
        if reply.status == 416 and at and download is not None:
            reply.close()
            download.path.unlink(missing_ok=True)
            download.abandon()
            download = self._prepare(request, repository, digest, who)
            reply = await self._get(request, download, 0)
        if reply.status not in (200, 206):
            if download is not None:
                self._abandon(download)
            await permission.refused(driver, reply, repository, digest, who)
            return await driver.relay(request, reply)
        await permission.allow(driver, repository, digest, who)
        if download is None:
            return await self._unstored(request, reply, digest)
        try:
            granted = await driver.stored(lambda: download.begin(reply), otherwise=False)
        except Broken:
            granted = False
        if not granted:
            self._abandon(download)
            driver.events.warn_once("no_room", digest=digest, size=download.size)
            return await self._unstored(request, reply, digest)
        driver.events.count("blob_misses")
        download.repositories.add(repository)
        self._downloads[(repository.origin, digest)] = download
        download.start()
        return await self._follow(request, download, "stored")

    async def _get(self, request: Request, download: Download | None, at: int) -> Reply:
        try:
            return await self._driver.send(request, extra=_range_from(at), downgrade=True)
        except BaseException:
            if download is not None:
                self._abandon(download)
            raise

    def _abandon(self, download: Download) -> None:
        if download.written == 0:
            download.path.unlink(missing_ok=True)
        download.abandon()

    def _prepare(
        self, request: Request, repository: Repository, digest: Digest, who: Credential
    ) -> Download | None:
        """Make a download, or None where the folder takes none."""
        driver = self._driver
        target = Target(request.origin, request.target)
        headers = forwarded(request)

        def reopen(offset: int) -> Reply:
            driver.events.count("resumed_fetches")
            fields = (*headers, *_range_from(offset))
            return driver.upstream.send("GET", target, fields, follow=True, downgrade=True)

        try:
            return Download(
                digest,
                driver.store.partial(repository.origin, digest),
                room=driver.store.room,
                reopen=reopen,
                finish=bind(self._finished, asyncio.get_running_loop(), repository, who),
                loop=asyncio.get_running_loop(),
            )
        except OSError as error:
            driver.events.warn_once("store_failed", reason=error)
            return None

    def _finished(
        self,
        loop: asyncio.AbstractEventLoop,
        repository: Repository,
        who: Credential,
        download: Download,
        error: BaseException | None,
    ) -> None:
        """Commit or clear away; on the download's thread."""
        store, events = self._driver.store, self._driver.events
        if error is None:
            try:
                for owner in sorted({repository, *download.repositories}):
                    self._driver.store_from_thread(
                        bind(
                            store.commit_blob,
                            download.path,
                            owner,
                            download.digest,
                            download.media_type,
                            public=who.anonymous and owner == repository,
                        )
                    )
                events.info("stored", digest=download.digest, size=download.size, of=repository)
            except (StoreError, RuntimeError) as problem:
                events.warn_once("store_failed", reason=problem)
        else:
            self._failed(repository, download, error)
        loop.call_soon_threadsafe(self._downloads.pop, (repository.origin, download.digest), None)

    def _failed(self, repository: Repository, download: Download, error: BaseException) -> None:
        useless = isinstance(error, MismatchError | OSError) or download.written == 0
        if useless:
            download.path.unlink(missing_ok=True)
        event = "mismatch" if isinstance(error, MismatchError) else "fetch_broken"
        self._driver.events.warn(
            event,
            digest=download.digest,
            of=repository,
            reason=error,
            kept=0 if useless else download.written,
        )

    async def _follow(self, request: Request, download: Download, how: str) -> Answer:
        """Stream from the growing file."""
        if how == "collapsed":
            self._driver.events.count("blob_collapsed")
        if download.size is None and wants_part(request):
            try:
                await download.settled()
            except BodyError as error:
                return error_answer(502, "UNAVAILABLE", str(error))
        content = Content(
            download.digest,
            download.media_type,
            download.size,
            lambda start, stop: ContinuedBody(
                download.body(start, stop), self._elsewhere(request, start, stop)
            ),
        )
        return content_answer(request, content, "fwd=miss", how, ranges=True)

    # Without the store

    def _elsewhere(
        self, request: Request, start: int, stop: int | None
    ) -> Callable[[int], Awaitable[Body]]:
        """How a reader goes on by itself where the disk could not take the rest."""

        async def resume(given: int) -> Body:
            at = start + given
            last = "" if stop is None else str(stop - 1)
            reply = await self._driver.send(
                request, extra=(("Range", f"bytes={at}-{last}"),), downgrade=True
            )
            if reply.status != 206:
                reply.close()
                raise BodyError(f"upstream answered {reply.status} to a resumed fetch")
            return ReplyBody(reply, self._driver.call)

        return resume

    async def _unstored(self, request: Request, reply: Reply, digest: Digest) -> Answer:
        """Serve a blob that cannot be stored: upstream's bytes, verified on their way."""
        driver = self._driver
        driver.events.count("blob_unstored")
        whole = reply.status == 200
        if wants_part(request) or not whole:
            reply.close()
            part = request.values("Range")
            extra: Fields = tuple(("Range", value) for value in part)
            reply = await driver.send(request, extra=extra, downgrade=True)
            return await driver.relay(request, reply)
        headers: Fields = (
            ("Content-Type", reply.value("Content-Type") or "application/octet-stream"),
            ("Docker-Content-Digest", str(digest)),
            cache_status("fwd=miss", "detail=no-room"),
        )
        if reply.length is not None:
            headers = (("Content-Length", str(reply.length)), *headers)
        return Answer(200, headers, ReplyBody(reply, driver.call, digest=digest))


def _range_from(offset: int) -> Fields:
    """Ask for what follows ``offset``, and one byte before it.

    The overlap keeps the answer a 206 where the file is whole already: asking from its end
    would be a 416, which says nothing of the bytes.
    """
    return (("Range", f"bytes={offset - 1}-"),) if offset > 0 else ()


def _drop(found: StoredBlob | None) -> None:
    if found is not None:
        FileBody(found.file, 0, 0).close()

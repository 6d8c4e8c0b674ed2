"""Downloads of one blob from a server that misbehaves as told, and those who follow them."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from entrepot.http_client.client import HttpClient
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.protocol.identifiers import Digest, Origin
from entrepot.storage.capacity.download_claims import Fit
from entrepot.storage.store import Store
from entrepot.transfer.bodies import FileBody
from entrepot.transfer.download import Download
from rig.faults import FaultServer, Handler
from rig.process import eventually

DATA = os.urandom(300_000)
WRONG = DATA[:-1] + bytes([DATA[-1] ^ 1])
DIGEST = Digest.of(DATA)
PATH = "/blob"
WHOLE = (0, len(DATA))
ENDLESS = (0, None)
LIMIT = 100_000_000
"""Of the store, in bytes."""


@dataclass
class Fetch:
    """A download, and how it ended."""

    download: Download
    reply: Reply
    over: asyncio.Event
    bodies: list[FileBody] = field(default_factory=list)

    async def ended(self) -> Exception | None:
        """What went wrong, once nothing of the download is left."""
        await self.over.wait()
        return self.download.file.error


@dataclass
class Fetcher:
    """Makes downloads of DIGEST from the server's PATH."""

    server: FaultServer
    upstream: HttpClient
    store: Store
    now: float = 0.0

    @property
    def path(self) -> Path:
        return self.store.partials.folder / "blob"

    def reopen(self, offset: int) -> Reply:
        target = Target(Origin("http", "127.0.0.1", self.server.port), PATH)
        fields = (("Range", f"bytes={offset - 1}-"),) if offset else ()
        return self.upstream.send("GET", target, fields, SendOptions(Follow.ANY))

    def part(self, nearest: Reply | None, start: int, stop: int) -> Reply:  # noqa: ARG002
        target = Target(Origin("http", "127.0.0.1", self.server.port), PATH)
        fields = (("Range", f"bytes={start}-{stop - 1}"),)
        return self.upstream.send("GET", target, fields, SendOptions(Follow.ANY))

    def prepare(self, digest: Digest = DIGEST) -> Fetch:
        over = asyncio.Event()
        download = Download(
            digest,
            self.path,
            source=self,
            claim=self._claim,
            finish=self._finish,
            ended=over.set,
            loop=asyncio.get_running_loop(),
            clock=lambda: self.now,
        )
        return Fetch(download, self.reopen(download.file.written), over)

    def _claim(self, download: Download, end: int) -> int:
        return self.store.downloads.claim(download.file.path, end, download.file.written)

    def _finish(self, download: Download) -> None:
        """Give the room back; the thread that claimed it has a database connection of its own."""
        self.store.downloads.release(download.file.path)
        self.store.disconnect()

    @asynccontextmanager
    async def fetching(
        self, handler: Handler, *parts: tuple[int, int | None], digest: Digest = DIGEST
    ) -> AsyncIterator[Fetch]:
        """Start a download with a reader for each part; wait at the end for its thread."""
        self.server.routes[PATH] = handler
        fetch = self.prepare(digest)
        size = fetch.download.accept(fetch.reply)
        assert self.store.downloads.admit(self.path, size) is Fit.YES
        fetch.bodies = [fetch.download.file.body(*part) for part in parts]
        fetch.download.start()
        yield fetch
        await fetch.ended()

    async def fetch(self, handler: Handler, digest: Digest = DIGEST) -> Exception | None:
        """Download to the end; the outcome."""
        async with self.fetching(handler, digest=digest) as fetch:
            return await fetch.ended()


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let the kernel refuse what would make a file longer, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens on other threads."""
    await asyncio.to_thread(eventually, condition, within=30, what="it")

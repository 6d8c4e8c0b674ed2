"""The engine of a proxy on a data folder, whose client and registry a test plays."""

import asyncio
import functools
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from entrepot.auth.grants import Access
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.protocol.messages import Request
from entrepot.protocol.routes import parse_endpoint
from entrepot.pull.cache import Cache
from entrepot.push.capture import PushCapture
from entrepot.push.request_tap import RequestTap
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from rig.process import eventually

ORIGIN = Origin("https", "registry.example.test", 443)
OTHER_HOST = Origin("https", "other.example.test", 443)
APP, OTHER = Repository(ORIGIN, "app"), Repository(ORIGIN, "other")
DATA = bytes(range(256)) * 1000
DIGEST = Digest.of(DATA)
UPLOADS = "/v2/app/blobs/uploads/"
PLACE = f"{UPLOADS}7f3a"
LIMIT = 100_000_000
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps({"mediaType": MANIFEST_TYPE, "layers": [{"digest": str(DIGEST)}]}).encode()


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run(**fixtures: object) -> None:
        asyncio.run(test(**fixtures))  # type: ignore[arg-type]

    return run


@dataclass
class World:
    """The engine of a proxy whose registry is played by the test."""

    store: Store
    context: Context
    cache: Cache
    events: Events
    pushes: PushCapture

    def watch(
        self, method: str, target: str, *fields: tuple[str, str], size: int | None = None
    ) -> RequestTap | None:
        """Begin a request."""
        path, _, query = target.partition("?")
        request = Request(method, ORIGIN, path, query, fields)
        return self.pushes.watch(request, parse_endpoint(method, path, query), size)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes,
        status: int,
        *answer: tuple[str, str],
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Pass a whole request, and what the registry answers."""
        watched = self.watch(method, target, *fields, size=len(body))
        if watched is None:
            return
        for start in range(0, len(body), 65536):
            watched.add(body[start : start + 65536])
        watched.add(b"")
        watched.answered(status, answer)

    def begin(self, location: str = PLACE) -> None:
        """Begin an upload that goes on at ``location``."""
        self.ask("POST", UPLOADS, b"", 202, ("Location", location))

    async def settled(self, digest: Digest = DIGEST) -> None:
        """Wait until what was pushed is stored, or given up."""
        await self.pushes.blob_settled(APP, digest)
        await self.pushes.manifests_settled(APP)
        await self.pushes._drafts.settled(lambda: None)  # noqa: SLF001 files are removed behind

    async def bytes_of(self, digest: Digest = DIGEST, repository: Repository = APP) -> bytes | None:
        """What is stored under a digest, if it is linked to the repository."""
        await self.settled(digest)
        found = await self.context.store_thread.run(
            lambda: self.store.blobs.find(repository, digest), None
        )
        if found is None:
            return None
        with os.fdopen(found.file, "rb") as file:
            return file.read() if found.linked else None

    def unfinished(self) -> list[Path]:
        """What lies in the folder of unfinished things."""
        return list(self.store.partials.folder.iterdir())

    def unclaimed(self) -> bool:
        """Whether no room is held."""
        claims = self.store.drafts._drafts  # noqa: SLF001 a claim for the rest would be near it
        return not claims.by_path

    def hold(self) -> threading.Event:
        """Let the disk hang until the event is set."""
        held = threading.Event()

        def wait() -> None:
            held.wait(20)

        self.pushes._drafts.submit(wait)  # noqa: SLF001 no disk hangs for the asking
        return held

    def waiting(self) -> int:
        """Bytes that wait in memory."""
        buffered = self.pushes._drafts.buffered  # noqa: SLF001 it shows nowhere else
        return buffered.most - buffered._left  # noqa: SLF001


@dataclass
class Start:
    """Starts engines on one data folder."""

    folder: Path

    @asynccontextmanager
    async def __call__(
        self, *, limit: int = LIMIT, idle_seconds: float = 60.0
    ) -> AsyncIterator[World]:
        events = Events()
        store = Store(self.folder, limit, events=events)
        upstream = HttpClient(Roots.find(None))
        now = 1e9
        context = Context.make(store, upstream, Access(b"secret"), events, lambda: now)
        cache = Cache(context)
        pushes = PushCapture(context.store_thread, context.events, idle_seconds)
        await cache.pushes.stop(1)
        cache.pushes = pushes
        try:
            yield World(store, context, cache, events, pushes)
        finally:
            await cache.close()
            store.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens behind."""
    await asyncio.to_thread(eventually, condition, within=30, what="it")


Push = Callable[[World], Awaitable[None]]

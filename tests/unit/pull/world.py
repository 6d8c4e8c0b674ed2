"""A cache in front of a small registry with one public image."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from entrepot.auth.grants import Access
from entrepot.config.networks import Network
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.protocol.account import Account
from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.messages import Answer, BodyError, Request
from entrepot.protocol.routes import Blob, Cacheable, Manifest, parse_endpoint
from entrepot.pull.cache import Cache
from entrepot.pull.stale import StaleIfError
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from entrepot.upstream.retry_policy import Patience
from rig.faults import Exchange, FaultServer, Handler, error

DATA = random.Random(1).randbytes(300_000)  # noqa: S311 the same in every process
DIGEST = Digest.of(DATA)
BLOB = f"/v2/app/blobs/{DIGEST}"
OTHER_BLOB = f"/v2/other/blobs/{DIGEST}"
TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps(
    {"config": {"digest": str(Digest.of(b"{}"))}, "layers": [{"digest": str(DIGEST)}]}
).encode()
MANIFEST_DIGEST = str(Digest.of(MANIFEST))
TAG = "/v2/app/manifests/1"
BY_DIGEST = f"/v2/app/manifests/{MANIFEST_DIGEST}"
ALICE, BOB = ("Authorization", "Basic alice"), ("Authorization", "Basic bob")
CHALLENGE = {"WWW-Authenticate": 'Basic realm="registry"'}
LIMIT = 200_000_000
CLIENT = "10.1.2.3"
PATIENCE = Patience((0.01, 0.01), 0.5)
"""So short that a failure that stays costs a test nothing."""


@dataclass(frozen=True, slots=True)
class Got:
    """An answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def how(self) -> str:
        return self.headers["cache-status"].removeprefix("entrepot; ")


@dataclass
class World:
    """A cache in front of the registry."""

    server: FaultServer
    store: Store
    context: Context
    cache: Cache
    events: Events
    now: list[float] = field(default_factory=lambda: [1e9])
    account: Account | None = None
    """As whom the proxy asks, if not as the client."""

    async def ask(
        self, path: str, *fields: tuple[str, str], method: str = "GET", host: str = "127.0.0.1"
    ) -> Answer:
        """The answer to a client."""
        path, _, query = path.partition("?")
        endpoint = parse_endpoint(method, path, query)
        assert isinstance(endpoint, Cacheable)
        origin = Origin("http", host, self.server.port)
        request = Request(
            method, origin, path, query, tuple(fields), client=CLIENT, account=self.account
        )
        return await self.cache.handle(request, endpoint)

    async def get(
        self, path: str, *fields: tuple[str, str], method: str = "GET", host: str = "127.0.0.1"
    ) -> Got:
        """The answer to a client, read to its end."""
        return await read(await self.ask(path, *fields, method=method, host=host))

    async def settled(self) -> None:
        """Wait until no download runs."""
        while self.cache.downloads:
            await self.context.store_thread.run(lambda: None, None)

    def seen(self) -> list[tuple[str, str, str | None]]:
        """What the registry was asked since the last time: method, path, Authorization."""
        seen = [(r.method, r.path, r.authorization) for r in self.server.requests]
        self.server.requests.clear()
        return seen


async def read(answer: Answer) -> Got:
    headers = {name.lower(): value for name, value in answer.headers}
    if isinstance(answer.content, bytes):
        return Got(answer.status, headers, answer.content, whole=True)
    body, whole = b"", True
    try:
        while piece := await answer.content.read():
            body += piece
    except BodyError:
        whole = False
    answer.close()
    return Got(answer.status, headers, body, whole)


def only(handler: Handler, *allowed: str) -> Handler:
    """A handler for who shows one of these credentials; the others get a challenge."""

    def guarded(exchange: Exchange) -> None:
        if exchange.request.authorization in allowed:
            handler(exchange)
        else:
            error(401, "UNAUTHORIZED", "log in", CHALLENGE)(exchange)

    return guarded


async def turns(world: World) -> None:
    """Let tasks that wait for the store come to where they wait for upstream."""
    for _ in range(20):
        await world.context.store_thread.run(lambda: None, None)


async def changed(world: World, method: str, path: str) -> None:
    """Let a client's successful PUT or DELETE pass by."""
    endpoint = parse_endpoint(method, path, "")
    assert isinstance(endpoint, Blob | Manifest)
    origin = Origin("http", "127.0.0.1", world.server.port)
    await world.cache.changed(method, Request(method, origin, path), endpoint)


class Run:
    """Runs a scenario in a world of its own, on an event loop of its own."""

    def __init__(self, folder: Path, server: FaultServer) -> None:
        self._folder = folder
        self._server = server

    def __call__(
        self,
        scenario: Callable[[World], Awaitable[None]],
        limit: int = LIMIT,
        private: tuple[Network, ...] = (),
    ) -> None:
        """``private``: the networks of ``--offline-private``."""

        async def run() -> None:
            async with self._world(limit, private) as world:
                await scenario(world)

        asyncio.run(run())

    @asynccontextmanager
    async def _world(self, limit: int, private: tuple[Network, ...]) -> AsyncIterator[World]:
        events = Events()
        upstream = HttpClient(Roots(None, None), read_seconds=10)
        with closing(Store(self._folder, limit)) as store:
            now = [1e9]
            context = Context.make(
                store, upstream, Access(b"secret"), events, lambda: now[0], patience=PATIENCE
            )
            cache = Cache(context, StaleIfError(context, private=private))
            world = World(self._server, store, context, cache, events, now)
            try:
                yield world
                await world.settled()
            finally:
                await cache.close()

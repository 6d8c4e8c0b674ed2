"""Asking hosts what they are, within bounds: whether one is a registry, whether it bears a look.

A probe is ``GET /v2/`` over verified TLS, without credentials. An inspection (``Upstream.greet``)
finds out what interception would take from a server's clients: their certificates, which nobody
else can show, or HTTP/2 where the server speaks nothing else.

Whoever names hosts that accept and never answer keeps a place for each for seconds. So a client has
only a few of them, and who gets none soon is not made to wait for more.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from entrepot.events.counters import Counter
from entrepot.http_client.connect.ssrf_guard import DestinationError
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.http_client.tls_inspection import Greeting
from entrepot.protocol.headers import parse_challenges
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import says_registry
from entrepot.protocol.network_reach import Reach
from entrepot.protocol.statuses import NO_HTTP_1
from entrepot.upstream.context import Context

PROBE_SECONDS = 4.0
PROBE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class ProbeBounds:
    """How many hosts are asked at once, for a client and in all, and how long to wait for it."""

    client: int = 4
    all: int = 64
    seconds: float = 1.0


@dataclass(slots=True)
class _Own:
    places: asyncio.Semaphore
    users: int = 0


class Places:
    """Places for probes on one event loop, so many for a client and in all."""

    def __init__(self, bounds: ProbeBounds | None = None) -> None:
        self._bounds = bounds or ProbeBounds()
        self._all = asyncio.Semaphore(self._bounds.all)
        self._clients: dict[str, _Own] = {}

    @contextlib.asynccontextmanager
    async def one(self, client: str) -> AsyncIterator[bool]:
        """A place for ``client`` (an address) during the block; whether there was one in time."""
        own = self._clients.setdefault(client, _Own(asyncio.Semaphore(self._bounds.client)))
        own.users += 1
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._leave, client, own)
            in_time = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._bounds.seconds):
                    await stack.enter_async_context(own.places)
                    await stack.enter_async_context(self._all)
                    in_time = True
            yield in_time

    def _leave(self, client: str, own: _Own) -> None:
        own.users -= 1
        if not own.users:
            del self._clients[client]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who names a host: a client's address, and how far that leads (None: anybody's word)."""

    client: str
    reach: Reach | None


class ProbeTurns:
    """Finds out once for all who ask; each client waits for a place of its own."""

    def __init__(self, context: Context, bounds: ProbeBounds | None = None) -> None:
        self._context = context
        self._places = Places(bounds)

    async def once(
        self,
        what: str,
        origin: Origin,
        asker: Asker,
        find: Callable[[], Awaitable[bool]],
        *,
        otherwise: bool,
    ) -> bool:
        """Find ``what`` out of a host; ``otherwise`` where the client gets no place in time."""

        async def turn() -> bool:
            async with self._places.one(asker.client) as has_place:
                if not has_place:
                    self._context.events.count(Counter.PROBES_REFUSED)
                    return otherwise
                found, _ = await self._context.flights.once((what, origin, asker.reach), find)
                return found

        try:
            found, _ = await self._context.flights.once((what, origin, asker), turn)
        except DestinationError:  # which says nothing to those who are led there
            return False
        return found


@dataclass(frozen=True, slots=True)
class Inspection:
    """Whether the connections to a TLS server may be looked into; they may where all is unset."""

    unfit: str | None = None
    """What its clients would lose, in words."""
    problem: UpstreamError | None = None
    """Why that was not found out."""
    is_away: bool = False
    """Whether the problem is that nobody was met."""


class Probes:
    """Asks hosts what they are: registries, or servers that interception would harm."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def is_registry(
        self, origin: Origin, reach: Reach | None, *, observed: bool = False
    ) -> bool | UpstreamError:
        """Ask a host whether it is a registry; the error where it does not say.

        ``observed`` where its answer shows how an upstream does (``host_outcomes``). Raises
        ``DestinationError`` where ``reach`` does not lead there, as :meth:`inspect` does.
        """
        ask = partial(self._ask, origin, reach, observed=observed)
        try:
            return await self._context.threads.call(ask, PROBE_SECONDS)
        except UpstreamError as error:
            return error
        except TimeoutError:
            return _silence(origin)

    async def inspect(self, origin: Origin, reach: Reach | None, *, ask: bool) -> Inspection:
        """Find out what a server's clients would lose; with ``ask``, whether it speaks HTTP/1.1."""
        upstream = self._context.gateway.upstream
        try:
            greeting = await self._context.threads.call(
                lambda: upstream.greet(origin, PROBE_SECONDS, ask=ask, reach=reach), PROBE_SECONDS
            )
        except UpstreamError as error:
            greeting = Greeting(problem=error)
        except TimeoutError:
            greeting = Greeting(problem=_silence(origin), is_away=True)
        if greeting.wants_certificate:
            return Inspection("it asks its clients for a certificate")
        if greeting.status in NO_HTTP_1:
            return Inspection("it speaks no HTTP/1.1")
        return Inspection(None, greeting.problem, greeting.is_away)

    def _ask(self, origin: Origin, reach: Reach | None, *, observed: bool) -> bool:
        target = Target(origin, "/v2/")
        fields = (("Accept", "application/json"), ("Accept-Encoding", "identity"))
        upstream = self._context.gateway.upstream
        options = SendOptions(Follow.NO, reach=reach, seconds=PROBE_SECONDS, observed=observed)
        reply = upstream.send("GET", target, fields, options)
        try:
            return is_registry_answer(reply)
        finally:
            reply.drain()  # the client's first request takes the connection over


def _silence(origin: Origin) -> UpstreamError:
    return UpstreamError(f"{origin}: no answer in time", silent=origin, slow=True)


def is_registry_answer(reply: Reply) -> bool:
    """Whether an answer to ``GET /v2/`` can only be a registry's.

    A bare 200 or a Basic challenge without Docker's own header is anybody's.
    """
    if reply.status in (200, 401) and says_registry(reply.headers):
        return True
    return reply.status == 401 and _has_bearer_realm(reply) and _has_error_body(reply)


def _has_bearer_realm(reply: Reply) -> bool:
    return any(
        challenge.scheme == "bearer" and challenge.params.get("realm", "").startswith("https://")
        for challenge in parse_challenges([reply.value("WWW-Authenticate") or ""])
    )


def _has_error_body(reply: Reply) -> bool:
    try:
        document = json.loads(reply.read_all(PROBE_BYTES))
        return all("code" in entry for entry in document["errors"]) and bool(document["errors"])
    except (ValueError, KeyError, TypeError, RecursionError, UpstreamError):
        return False

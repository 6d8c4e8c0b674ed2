"""Which hosts are intercepted: registries and their token servers, and nothing else.

A host is a registry because it is listed, well known, learnt, or says so when asked:
``GET /v2/`` over verified TLS, without credentials, at most once an hour. Whatever goes wrong
means «no», and «no» means a blind tunnel (promise 4). A client that refuses our certificate is
tunnelled to that host for ten minutes, so that one machine without the CA still works.
"""

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from entrepot.destinations import DestinationError
from entrepot.driver import Driver
from entrepot.headers import parse_challenges
from entrepot.reach import Reach
from entrepot.reference import HostPort, Origin
from entrepot.reply import Reply, Target, UpstreamError
from entrepot.tokens import Realms
from entrepot.upstream import Follow

YES_SECONDS = 7 * 24 * 3600.0
NO_SECONDS = 3600.0
UNREACHABLE_SECONDS = 60.0
REFUSED_SECONDS = 600.0
PROBE_SECONDS = 4.0
PROBE_BYTES = 16 * 1024
_PROBES_AT_ONCE = 16
_MOST_REMEMBERED = 10_000

_KNOWN = re.compile(
    r"(?:registry-1|index|auth)\.docker\.io"
    r"|ghcr\.io|quay\.io|(?:[a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev"
    r"|registry\.k8s\.io|mcr\.microsoft\.com|public\.ecr\.aws"
    r"|[0-9]{12}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?"
    r"|[a-z0-9]+\.azurecr\.io|registry\.gitlab\.com|nvcr\.io|docker\.elastic\.co"
    r"|registry\.(?:access\.)?redhat\.(?:com|io)"
)
"""Registries whose ``/v2/`` is not known to say what the probe wants to hear, or that so many
use that the first pull should not wait for it. Port 443 only."""


K = TypeVar("K")
V = TypeVar("V")


class Hosts:
    """Decides for each host and client whether to intercept."""

    def __init__(
        self,
        driver: Driver,
        realms: Realms,
        *,
        listed: tuple[HostPort, ...] = (),
        only_listed: bool = False,
        permits: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """``permits`` says for which hosts the authority may make a certificate."""
        self._driver = driver
        self._realms = realms
        self._listed = listed
        self._only_listed = only_listed
        self._permits = permits
        self._verdicts: OrderedDict[Origin, tuple[bool, float]] = OrderedDict()
        self._refused: OrderedDict[tuple[str, Origin], float] = OrderedDict()
        self._probes = asyncio.Semaphore(_PROBES_AT_ONCE)

    async def intercepts(self, origin: Origin, client: str) -> bool:
        """Whether to look into what ``client`` (an address) and ``origin`` say to each other."""
        if self._refused.get((client, origin), 0.0) > self._driver.clock():
            return False
        reach = self._driver.upstream.destinations.named_by_client(origin.host, origin.port, client)
        return self._permits(origin.host) and await self.is_registry(origin, reach)

    async def is_registry(self, origin: Origin, reach: Reach | None = None) -> bool:
        """Whether a registry or a registry's token server is at ``origin``.

        Where that is not known it is asked, as far as ``reach`` leads (None: anybody's word).
        """
        if self.is_listed(origin) or self._realms.is_host(origin):
            return True
        if self._only_listed:
            return False
        if origin.port == 443 and origin.scheme == "https" and _KNOWN.fullmatch(origin.host):
            return True
        known = self._verdicts.get(origin)
        if known is not None and known[1] > self._driver.clock():
            return known[0]
        try:
            verdict, _ = await self._driver.together(
                ("probe", origin, reach), lambda: self._find(origin, reach)
            )
        except DestinationError:  # which says nothing to those who are led there
            return False
        return verdict

    def refused(self, origin: Origin, client: str) -> bool:
        """Remember that ``client`` does not trust our certificate; whether that is news."""
        key, now = (client, origin), self._driver.clock()
        news = self._refused.get(key, 0.0) <= now
        _remember(self._refused, key, now + REFUSED_SECONDS)
        return news

    async def learn(self, origin: Origin) -> None:
        """Take in that a registry answered at ``origin``."""
        if not self._verdicts.get(origin, (False, 0.0))[0]:
            await self._found(origin)

    def is_listed(self, origin: Origin) -> bool:
        """Whether the administrator listed a host."""
        return any(
            entry.host == origin.host and entry.port in (None, origin.port)
            for entry in self._listed
        )

    def excludes(self, origin: Origin) -> bool:
        """Whether only what is listed counts, and this is not."""
        return self._only_listed and not self.is_listed(origin)

    async def _find(self, origin: Origin, reach: Reach | None) -> bool:
        store, now = self._driver.store, self._driver.clock()
        row = await self._driver.stored(lambda: store.host(origin), None)
        left = row.until - self._driver.wall() if row is not None else 0.0
        # More than was ever given: the clock was set back since.
        if row is not None and row.registry and 0 < left <= YES_SECONDS:
            _remember(self._verdicts, origin, (True, now + left))
            return True
        was_one = row is not None and row.registry
        if self._driver.offline or (was_one and self._driver.is_away(origin)):
            return was_one
        verdict, seconds = await self._probe(origin, reach, was_one=was_one)
        if seconds == UNREACHABLE_SECONDS and was_one:
            _remember(self._verdicts, origin, (True, now + seconds))
            return True  # what it was: its content is served while it is away
        if verdict:
            await self._found(origin)
        else:
            _remember(self._verdicts, origin, (False, now + seconds))
        self._driver.events.info("probed", host=origin, registry=verdict)
        return verdict

    async def _found(self, origin: Origin) -> None:
        _remember(self._verdicts, origin, (True, self._driver.clock() + YES_SECONDS))
        await self._driver.stored(
            lambda: self._driver.store.set_host(origin, registry=True, seconds=YES_SECONDS), None
        )

    async def _probe(
        self, origin: Origin, reach: Reach | None, *, was_one: bool
    ) -> tuple[bool, float]:
        """Ask a host whether it is a registry; and for how long a «no» counts.

        Of one that ``was_one`` it is remembered that it is silent, so that the request that comes
        next does not wait again.
        """
        problem = UpstreamError(f"{origin}: no answer in time", silent=origin, slow=True)
        ask = partial(self._ask, origin, reach)
        async with self._probes:
            try:
                return await self._driver.call(ask, PROBE_SECONDS), NO_SECONDS
            except UpstreamError as error:
                problem = error
            except TimeoutError:
                pass
        if was_one:
            self._driver.failed(problem)
        return False, UNREACHABLE_SECONDS

    def _ask(self, origin: Origin, reach: Reach | None) -> bool:
        target = Target(origin, "/v2/")
        fields = (("Accept", "application/json"), ("Accept-Encoding", "identity"))
        upstream = self._driver.upstream
        reply = upstream.send(
            "GET", target, fields, reach=reach, follow=Follow.NO, seconds=PROBE_SECONDS
        )
        try:
            return is_registry_answer(reply)
        finally:
            reply.drain()  # the client's first request takes the connection over


def is_registry_answer(reply: Reply) -> bool:
    """Whether an answer to ``GET /v2/`` can only be a registry's.

    A bare 200 or a Basic challenge without Docker's own header is anybody's.
    """
    version = reply.value("Docker-Distribution-Api-Version") or ""
    if reply.status in (200, 401) and version.startswith("registry/2."):
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


def _remember(table: OrderedDict[K, V], key: K, value: V) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > _MOST_REMEMBERED:
        table.popitem(last=False)

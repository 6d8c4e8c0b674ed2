"""Pings and token requests in front of one server, which is registry and token server."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from entrepot.auth.grants import Access
from entrepot.auth.token_servers import Realms
from entrepot.endpoints.login_requests import LoginRequests
from entrepot.events.log import Events
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Answer, Fields, Request, field_values
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from rig.faults import Exchange, FaultServer, Handler, status

VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
BASIC = {"WWW-Authenticate": 'Basic realm="registry"'}
REFUSAL = b'{"errors": [{"code": "UNAUTHORIZED"}]}'
CHALLENGE = status(401, REFUSAL, {**BASIC, **VERSION})
OPEN = status(200, b"{}", VERSION)
ALICE = ("Authorization", "Basic alice")
ASKED, HIT = "fwd=bypass; detail=ping", "hit; detail=ping"
LOCALLY = "hit; detail=offline"


@dataclass(frozen=True, slots=True)
class Got:
    """An answer, read to its end."""

    status: int
    headers: Fields
    body: bytes

    def values(self, name: str) -> list[str]:
        return field_values(self.headers, name)

    @property
    def how(self) -> str:
        return self.values("Cache-Status")[0].removeprefix("entrepot; ")


@dataclass
class World:
    """Pings and token requests in front of one server, which is registry and token server."""

    server: FaultServer
    logins: LoginRequests = field(init=False)
    hosts: RegistryHosts = field(init=False)
    access: Access = field(default_factory=lambda: Access(b"secret"))
    realms: Realms = field(default_factory=Realms)
    events: Events = field(default_factory=Events)
    now: float = 1e9
    step: float = 0.0
    """By how much the clock goes on when it is read."""

    def clock(self) -> float:
        self.now += self.step
        return self.now

    def request(
        self, target: str, *fields: tuple[str, str], method: str = "GET", host: str = "127.0.0.1"
    ) -> Request:
        path, _, query = target.partition("?")
        return Request(method, Origin("http", host, self.server.port), path, query, tuple(fields))

    async def ask(
        self,
        target: str,
        *fields: tuple[str, str],
        method: str = "GET",
        host: str = "127.0.0.1",
        content: bytes = b"",
    ) -> Answer:
        """The answer to a client."""
        request = self.request(target, *fields, method=method, host=host)
        return await self.logins.handle(request, content)

    async def get(self, target: str, *fields: tuple[str, str], method: str = "GET") -> Got:
        """The answer to a client, read to its end."""
        return await read(await self.ask(target, *fields, method=method))

    async def challenge(self) -> None:
        """Let the proxy see where this registry has its tokens."""
        realm = f'Bearer realm="http://127.0.0.1:{self.server.port}/token",service="rig"'
        self.logins.challenged(Origin("http", "127.0.0.1", self.server.port), [realm], ())

    def is_anonymous(self, token: str) -> tuple[bool, float | None]:
        """Whether a token counts as nobody's, and when it ends."""
        bearer = ("Authorization", f"Bearer {token}")
        who = self.access.credentials.of(self.request("/v2/a/manifests/1", bearer))
        return who.anonymous, who.expires


Scenario = Callable[[World], Awaitable[None]]
Run = Callable[[Scenario], None]


async def read(answer: Answer) -> Got:
    if isinstance(answer.content, bytes):
        return Got(answer.status, answer.headers, answer.content)
    body = b""
    while piece := await answer.content.read():
        body += piece
    answer.close()
    return Got(answer.status, answer.headers, body)


def raw(answer: bytes, *, cut: bool = True) -> Handler:
    """A handler that writes exactly these bytes."""

    def write(exchange: Exchange) -> None:
        exchange.write(answer)
        if cut:
            exchange.cut(reset=False)

    return write

"""The rig of asking as an account: one server with TLS that plays every host.

What it was asked is on its record by host and path.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qs

from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.protocol.account import Account
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields, Request
from entrepot.upstream.account_auth.challenges import AccountAuth
from rig.client import basic
from rig.faults import Exchange, FaultServer, Handler, status

REGISTRY, AUTH = "registry.example.test", "auth.example.test"
CDN, EVIL = "cdn.example.test", "registry.evil.test"
HOSTS = (REGISTRY, AUTH, CDN, EVIL)
PATH = "/v2/acme/app/manifests/1"
ALICE = Account("alice", "wonderland")
ALICES = basic("alice", "wonderland")
TOKEN_URL = f"https://{AUTH}/token"


def challenge(realm: str = TOKEN_URL, rest: str = ',service="rig"') -> Handler:
    return status(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"{rest}'})


def taking(*taken: str, refusal: Handler) -> Handler:
    """A registry that serves to who shows one of these, and answers the others so."""

    def answer(exchange: Exchange) -> None:
        good = exchange.request.authorization in taken
        (status(200, b"content") if good else refusal)(exchange)

    return answer


def issuing(*logins: str | None, life: int | None = 100, refusal: int = 401) -> Handler:
    """A token server: a token with a number for each of these, the others are refused."""
    numbers = iter(range(1, 1000))

    def answer(exchange: Exchange) -> None:
        if exchange.request.authorization not in logins:
            exchange.send(refusal)
            return
        whose = "a" if exchange.request.authorization else "n"
        seconds = "" if life is None else f',"expires_in":{life}'
        exchange.send(200, f'{{"token":"{whose}{next(numbers)}"{seconds}}}'.encode())

    return answer


@dataclass
class World:
    """A signer in front of the server."""

    server: FaultServer
    upstream: HttpClient
    events: Events = field(default_factory=Events)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.account_auth = AccountAuth(self.upstream, self.events, lambda: self.now)

    def send(
        self,
        account: Account | None = ALICE,
        *,
        path: str = PATH,
        origin: Origin | None = None,
        seconds: float | None = None,
    ) -> tuple[int, bytes]:
        """What the registry answers in the end."""
        origin = origin or Origin("https", REGISTRY, 443)
        request = Request("GET", origin, path, account=account)

        def send(fields: Fields) -> Reply:
            return self.upstream.send("GET", Target(origin, path), fields, SendOptions(Follow.ANY))

        with self.account_auth.send(request, (("Accept", "a/b"),), send, seconds=seconds) as reply:
            return reply.status, reply.read_all(1000)

    def shown(self, host: str) -> list[str | None]:
        """The Authorization of every request that a host got."""
        return [request.authorization for request in self.server.of(host=host)]

    def asked(self) -> list[dict[str, list[str]]]:
        """The queries of every request for a token."""
        return [parse_qs(request.query) for request in self.server.of(path="/token")]

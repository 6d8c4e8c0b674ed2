"""What clients without a login are told where the proxy has an account."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.auth.accounts import Accounts, Found
from entrepot.auth.grants import Access
from entrepot.auth.token_servers import Realms
from entrepot.endpoints.account_requests import AccountRequests
from entrepot.endpoints.login_requests import LoginRequests
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError
from entrepot.protocol.account import Account
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Answer, Fields, Request
from entrepot.protocol.routes import parse_endpoint
from entrepot.pull.stale import StaleIfError
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.interception import Interception
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from rig.faults import FaultServer, Handler, status

ELSEWHERE = Origin("https", "login.other.test", 443)
VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
OURS = "entrepot; hit; detail=account"
Scenario = Callable[["World"], Awaitable[None]]


class World:
    """A registry, its token server, and an account there."""

    def __init__(self, server: FaultServer, context: Context) -> None:
        self.server = server
        self.context = context
        self.origin = Origin("http", "127.0.0.1", server.port)
        self.account = Account("fleet", "pw", plain=True)
        self.realms = Realms()
        self.hosts = RegistryHosts(context)
        self.interception = Interception(
            context.health, context.clock, self.realms, self.hosts, context.events
        )
        self.use(self.account)

    def use(self, account: Account, prefix: tuple[str, ...] = ()) -> None:
        accounts = Accounts(found=[Found(self.origin, prefix, account)])
        self.account_requests = AccountRequests(
            self.context, accounts, self.realms, self.interception
        )
        without_token = StaleIfError(self.context).without_token
        self.logins = LoginRequests(
            self.context, self.realms, self.hosts, without_token, self.account_requests
        )

    def request(self, target: str, *fields: tuple[str, str], method: str = "GET") -> Request:
        path, _, query = target.partition("?")
        return Request(method, self.origin, path, query, fields, client="10.0.0.1")

    def challenge(self, header: str) -> Handler:
        text = header.replace("OWN", f"http://127.0.0.1:{self.server.port}/token")
        return status(401, b"{}", {"WWW-Authenticate": text, **VERSION})

    async def ping(self, *fields: tuple[str, str], method: str = "GET") -> Answer:
        return await self.logins.handle(self.request("/v2/", *fields, method=method), b"")


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    server = FaultServer(None)
    yield server
    server.stop()


@pytest.fixture
def run(tmp_path: Path, server: FaultServer) -> Callable[[Scenario], None]:
    """Runs a scenario in a world of its own."""
    server.reset()

    async def main(scenario: Scenario) -> None:
        with closing(Store(tmp_path / "data", 10**7)) as store:
            upstream = HttpClient(Roots(None, None), read_seconds=10)
            context = Context.make(store, upstream, Access(b"secret"), Events(), lambda: 1e6)
            with closing(context):
                await scenario(World(server, context))

    return lambda scenario: asyncio.run(main(scenario))


Run = Callable[[Scenario], None]
BASIC, OWN = 'Basic realm="r"', 'Bearer realm="OWN",service="s"'
FOREIGN = f'Bearer realm="{ELSEWHERE}/token"'


@pytest.mark.parametrize(
    ("header", "realms", "prefix", "fields", "method", "told"),
    [
        (BASIC, (), (), (), "GET", 200),
        (BASIC, (), (), (), "HEAD", 200),
        (BASIC, (), (), (("User-Agent", "docker"),), "GET", 200),
        (BASIC, (), (), (("Authorization", "Basic x"),), "GET", 401),
        (BASIC, (), (), (("Cookie", "x"),), "GET", 401),
        (BASIC, (), ("acme",), (), "GET", 401),
        (OWN, (), (), (), "GET", 401),
        (FOREIGN, (), (), (), "GET", 401),
        (FOREIGN, (ELSEWHERE,), (), (), "GET", 200),
    ],
)
def test_which_challenge_is_kept_from_a_client(
    run: Run,
    header: str,
    realms: tuple[Origin, ...],
    prefix: tuple[str, ...],
    fields: Fields,
    method: str,
    told: int,
) -> None:
    """One that the account answers, and no token of ours could: else a login could not be used."""

    async def scenario(world: World) -> None:
        world.use(Account("fleet", "pw", realms=frozenset(realms)), prefix)
        world.server.routes["/v2/"] = world.challenge(header)
        for _ in range(2):
            answer = await world.ping(*fields, method=method)
            assert answer.status == told
            assert (answer.value("Cache-Status") == OURS) == (told == 200)

    run(scenario)


def test_a_token_server_that_cannot_be_looked_into_is_no_way(run: Run) -> None:
    """Where its connections are tunnelled, no token of ours could be given there."""

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = world.challenge(OWN)
        assert (await world.ping()).status == 401
        world.interception.certificate_refused(
            world.origin, "10.0.0.1"
        )  # this client refuses our certificate
        assert (await world.ping()).status == 200

    run(scenario)


@pytest.mark.parametrize(
    ("method", "path", "fields", "taken"),
    [
        ("GET", "acme/app/manifests/1", (), True),
        ("HEAD", "acme/app/manifests/1", (("Accept", "*/*"),), True),
        ("GET", f"acme/app/blobs/sha256:{'0' * 64}", (), True),
        ("GET", "acme/app/tags/list?n=1", (), True),
        ("GET", f"acme/app/referrers/sha256:{'0' * 64}", (), True),
        ("GET", "acmecorp/app/manifests/1", (), False),
        ("GET", "acme/app/manifests/1", (("Authorization", ""),), False),
        ("GET", "acme/app/manifests/1", (("X-Anything", "1"),), False),
        ("PUT", "acme/app/manifests/1", (), False),
        ("DELETE", "acme/app/manifests/1", (), False),
        ("POST", "acme/app/blobs/uploads/", (), False),
        ("GET", "acme/app/blobs/uploads/1", (), False),
        ("GET", "_catalog", (), False),
        ("GET", "", (), False),
        ("GET", "acme/app/manifests/1?a=b", (), False),
        ("GET", "acme/%61pp/manifests/1", (), False),
        ("GET", "acme/app/unknown", (), False),
    ],
)
def test_what_is_asked_as_an_account(
    run: Run,
    method: str,
    path: str,
    fields: Fields,
    taken: bool,  # noqa: FBT001 a column of the table
) -> None:
    """Reading content of its repositories, for who shows nothing of itself."""

    async def scenario(world: World) -> None:
        world.use(world.account, ("acme",))
        request = world.request(f"/v2/{path}", *fields, method=method)
        endpoint = parse_endpoint(method, request.path, request.query)
        account = world.account_requests.as_account(request, endpoint).account
        assert account == (world.account if taken else None)

    run(scenario)


def test_our_token_is_taken_off_and_means_no_outage(run: Run) -> None:
    """Who shows it shows nothing; it says nothing of the registry's health."""

    async def scenario(world: World) -> None:
        world.server.routes["/v2/"] = world.challenge(OWN)
        await world.ping()
        answer = await world.logins.handle(world.request("/token?service=s"), b"")
        assert answer.value("Cache-Status") == OURS
        assert isinstance(answer.content, bytes)
        token = answer.content.decode().split('"')[3]
        shown = world.request("/v2/a/manifests/1", ("Authorization", f"Bearer {token}"))
        assert world.logins.settle(shown).headers == ()
        assert (await world.ping()).status == 401
        other = world.request("/v2/a/manifests/1", ("Authorization", f"Bearer {token}x"))
        assert world.logins.settle(other) is other

    run(scenario)


def test_a_token_server_that_is_away_is_not_waited_for(run: Run) -> None:
    """The breaker knows it too: a registry that answers is of no use without its tokens."""

    async def scenario(world: World) -> None:
        path = "/v2/a/manifests/1"
        world.server.routes[path] = world.challenge('Bearer realm="http://127.0.0.1:9/token"')
        request = world.account_requests.as_account(
            world.request(path), parse_endpoint("GET", path, "")
        )
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await world.context.gateway.send(request)
        assert world.context.health.breakers.is_away(Origin("http", "127.0.0.1", 9))
        asked = len(world.server.requests)
        with pytest.raises(UpstreamError, match="it does not answer"):
            await world.context.gateway.send(request)
        assert len(world.server.requests) == asked
        assert not world.context.gateway.may_ask_as(request, fallback=True)
        assert world.context.health.may_ask(world.origin, fallback=True)

    run(scenario)

"""Fixtures for tests of pings and token requests."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from entrepot.auth.accounts import Accounts
from entrepot.endpoints.account_requests import AccountRequests
from entrepot.endpoints.login_requests import LoginRequests
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.pull.stale import StaleIfError
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.interception import Interception
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from rig.faults import FaultServer
from unit.endpoints.world import CHALLENGE, Scenario, World


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FaultServer]:
    server = FaultServer(None)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with closing(Store(tmp_path_factory.mktemp("store") / "data", 10**7)) as store:
        yield store


@pytest.fixture
def server(shared_server: FaultServer) -> FaultServer:
    shared_server.reset()
    shared_server.routes["/v2/"] = CHALLENGE
    return shared_server


@pytest.fixture
def run(store: Store, server: FaultServer) -> Callable[[Scenario], None]:
    """Runs a scenario in a world of its own, on an event loop of its own."""

    async def main(scenario: Scenario) -> None:
        world = World(server)
        upstream = HttpClient(Roots(None, None), read_seconds=10)
        context = Context.make(store, upstream, world.access, world.events, world.clock)
        with closing(context):
            world.hosts, realms = RegistryHosts(context), world.realms
            interception = Interception(
                context.health, context.clock, realms, world.hosts, context.events
            )
            account_requests = AccountRequests(context, Accounts(), realms, interception)
            without_token = StaleIfError(context).without_token
            world.logins = LoginRequests(
                context, realms, world.hosts, without_token, account_requests
            )
            await scenario(world)

    return lambda scenario: asyncio.run(main(scenario))

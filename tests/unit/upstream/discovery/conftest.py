"""One server for the hosts of a test, and clients that find it or nobody."""

from collections.abc import Iterator

import pytest

from entrepot.config.addresses import Resolve
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from rig.certs import Authority
from rig.faults import FaultServer
from rig.hosts import AUTH, NAME, SLOW, UNREACHABLE


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def shared_server(authority: Authority) -> Iterator[FaultServer]:
    server = FaultServer(authority, NAME, AUTH.host, *SLOW)
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: FaultServer) -> FaultServer:
    shared_server.reset()
    return shared_server


@pytest.fixture
def nowhere(authority: Authority) -> HttpClient:
    """A client for which every name that a test asks about is unreachable."""
    unreachable = (Resolve(host, port, "127.0.0.1", 1) for host, port in UNREACHABLE)
    return HttpClient(Roots(authority.pem, None), resolve=tuple(unreachable))


@pytest.fixture
def reachable(authority: Authority, server: FaultServer) -> HttpClient:
    """A client that finds the server."""
    resolve = tuple(Resolve.parse(entry) for entry in server.resolve)
    return HttpClient(Roots(authority.pem, None), resolve=resolve, read_seconds=5)

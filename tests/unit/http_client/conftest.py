"""A server of plain HTTP, one of TLS, and a client that finds both."""

from collections.abc import Iterator

import pytest

from entrepot.config.addresses import Resolve
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from rig.certs import Authority
from rig.faults import FaultServer
from rig.requests import NAME, OTHER_NAME


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def servers(authority: Authority) -> Iterator[tuple[FaultServer, FaultServer]]:
    """A server of plain HTTP, and one of TLS."""
    plain, secure = FaultServer(None), FaultServer(authority, NAME, OTHER_NAME)
    yield plain, secure
    plain.stop()
    secure.stop()


@pytest.fixture
def plain(servers: tuple[FaultServer, FaultServer]) -> FaultServer:
    servers[0].reset()
    return servers[0]


@pytest.fixture
def secure(servers: tuple[FaultServer, FaultServer]) -> FaultServer:
    servers[1].reset()
    return servers[1]


@pytest.fixture
def upstream(authority: Authority, plain: FaultServer, secure: FaultServer) -> Iterator[HttpClient]:
    """A client that finds both names at the servers and gives a stalled read 0.2 s."""
    resolve = (
        *(Resolve.parse(entry) for entry in secure.resolve),
        *(Resolve(name, 80, "127.0.0.1", plain.port) for name in (NAME, OTHER_NAME)),
    )
    upstream = HttpClient(Roots(authority.pem, None), resolve=resolve, read_seconds=0.2)
    yield upstream
    upstream.close()

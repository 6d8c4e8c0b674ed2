"""One server for every host of a test, and what asks it as an account."""

from collections.abc import Iterator

import pytest

from entrepot.config.addresses import Resolve
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from rig.accounts import HOSTS, World
from rig.certs import Authority
from rig.faults import FaultServer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[FaultServer]:
    server = FaultServer(authority, *HOSTS)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def plain() -> Iterator[FaultServer]:
    server = FaultServer(None)
    yield server
    server.stop()


@pytest.fixture
def world(authority: Authority, secure: FaultServer, plain: FaultServer) -> Iterator[World]:
    secure.reset()
    plain.reset()
    resolve = (
        *(Resolve.parse(line) for line in secure.resolve),
        *(Resolve(name, 80, "127.0.0.1", plain.port) for name in HOSTS),
    )
    upstream = HttpClient(Roots(authority.pem, None), resolve=resolve, read_seconds=10)
    yield World(secure, upstream)
    upstream.close()

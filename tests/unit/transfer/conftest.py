"""What the tests of transfers share: a server that misbehaves as told, a client, a store."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.storage.store import Store
from rig.downloads import LIMIT, Fetcher
from rig.faults import FaultServer


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FaultServer]:
    server = FaultServer(None)
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: FaultServer) -> FaultServer:
    shared_server.reset()
    return shared_server


@pytest.fixture
def upstream() -> Iterator[HttpClient]:
    upstream = HttpClient(Roots(None, None), read_seconds=10)
    yield upstream
    upstream.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "data", LIMIT)) as store:
        yield store


@pytest.fixture
def fetcher(server: FaultServer, upstream: HttpClient, store: Store) -> Fetcher:
    return Fetcher(server, upstream, store)

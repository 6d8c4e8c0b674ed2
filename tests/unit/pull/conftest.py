"""Fixtures for tests of the cache: a small registry, and scenarios in front of it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.auth.grants import Access
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from rig.faults import Content, FaultServer
from unit.pull.away import Away
from unit.pull.world import (
    BLOB,
    BY_DIGEST,
    DATA,
    DIGEST,
    MANIFEST,
    MANIFEST_DIGEST,
    OTHER_BLOB,
    TAG,
    TYPE,
    Run,
)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FaultServer]:
    server = FaultServer(None)
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: FaultServer) -> FaultServer:
    """A registry with one public image in ``app``, whose blob ``other`` has as well."""
    shared_server.reset()
    shared_server.routes |= {
        BLOB: Content(DATA, digest=str(DIGEST)),
        OTHER_BLOB: Content(DATA, digest=str(DIGEST)),
        TAG: Content(MANIFEST, TYPE, MANIFEST_DIGEST),
        BY_DIGEST: Content(MANIFEST, TYPE, MANIFEST_DIGEST),
    }
    return shared_server


@pytest.fixture
def run(tmp_path: Path, server: FaultServer) -> Run:
    return Run(tmp_path / "data", server)


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Away]:
    now = [1e9]

    def clock() -> float:
        return now[0]

    with closing(Store(tmp_path / "data", 10**7, clock=clock)) as store:
        access = Access(b"secret")
        context = Context.make(store, HttpClient(Roots(None, None)), access, Events(), clock)
        with closing(context):
            yield Away(store, context, access, now)

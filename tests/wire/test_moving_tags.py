"""A tag that moves while it is asked for: who comes after the push has what was pushed."""

import threading
from contextlib import closing
from dataclasses import dataclass

import pytest

from rig.client import Client
from rig.faults import Content, Exchange, FaultServer, status
from rig.images import ANY_MANIFEST, Image, ImageFactory
from rig.proxy import Entrepot

HOST = "https://fault.example.test"
TAG = "/v2/app/manifests/1"
PATIENCE = 20.0
"""Seconds; an answer takes milliseconds, one to a question that is held as long as it is held."""


@dataclass
class Registry:
    """Has a tag that moves; while ``held``, an answer is decided on but not sent."""

    faults: FaultServer
    old: Image
    new: Image

    def __post_init__(self) -> None:
        self.held, self.released = threading.Event(), threading.Event()
        self.faults.publish(self.new, "app", "1")
        self.faults.publish(self.old, "app", "1")
        self._is(self.old)

    def _is(self, image: Image) -> None:
        content = Content(image.root.body, image.root.media_type, image.digest)

        def answer(exchange: Exchange) -> None:
            if exchange.request.method == "PUT":
                exchange.read_body()
                self.push()
                exchange.send(201, headers={"Docker-Content-Digest": self.new.digest})
                return
            if image is self.old and self.held.is_set():
                self.released.wait(60)
            content(exchange)

        self.faults.routes[TAG] = answer

    def push(self) -> None:
        self._is(self.new)


@pytest.fixture
def registry(faults: FaultServer, images: ImageFactory) -> Registry:
    return Registry(faults, images.image("before the push"), images.image("after the push"))


@pytest.mark.parametrize("known", [True, False], ids=["HEAD", "GET"])
@pytest.mark.parametrize("through", [True, False], ids=["through the proxy", "directly"])
def test_who_asks_after_a_push_has_what_was_pushed(
    entrepot: Entrepot, registry: Registry, *, through: bool, known: bool
) -> None:
    """Promise 5: nobody joins a question that was sent before he came, and its answer is no news.

    While the registry is away, the tag is what it was last, though the older answer came later.
    """
    client = entrepot.client(timeout=PATIENCE)
    if known:
        assert client.manifest(HOST + TAG).digest == registry.old.digest
    registry.held.set()
    seen = len(registry.faults.of(path=TAG))
    with closing(client.connection(HOST)) as early:
        early.request("GET", TAG, headers={"Accept": ANY_MANIFEST})
        registry.faults.await_request(path=TAG, count=seen + 1)
        push(client, registry, through=through)
        assert client.manifest(HOST + TAG).digest == registry.new.digest
        registry.released.set()
        assert early.getresponse().headers["Docker-Content-Digest"] == registry.old.digest
    registry.faults.instead = status(503)
    later = client.manifest(HOST + TAG)
    assert (later.digest, "stale" in later.cache_status) == (registry.new.digest, True)


def push(client: Client, registry: Registry, *, through: bool) -> None:
    if not through:
        registry.push()
        return
    fields = {"Content-Type": registry.new.root.media_type}
    assert client.request("PUT", HOST + TAG, fields, registry.new.root.body).status == 201


def test_a_rollout_costs_few_questions(
    entrepot: Entrepot, client: Client, registry: Registry
) -> None:
    """However many come while the registry thinks: one more question, and then one at a time."""
    client.manifest(HOST + TAG)
    registry.held.set()
    registry.faults.requests.clear()
    connections = [client.connection(HOST) for _ in range(20)]
    for connection in connections:
        connection.request("GET", TAG, headers={"Accept": ANY_MANIFEST})
    registry.faults.await_request(path=TAG, count=2)
    registry.faults.routes["/v2/app/manifests/barrier"] = status(404)
    assert client.manifest(f"{HOST}/v2/app/manifests/barrier").status == 404
    registry.released.set()
    for connection in connections:
        with closing(connection):
            assert connection.getresponse().headers["Docker-Content-Digest"] == registry.old.digest
    assert 2 <= len(registry.faults.of(path=TAG)) <= 3
    assert entrepot.counter("manifest_hits") == len(connections)

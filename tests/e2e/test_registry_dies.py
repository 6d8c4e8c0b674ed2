"""Real clients while their registry is dead, dies, or has had enough."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from rig.clients import Dockerd, RealClient
from rig.command import check
from rig.faults import Exchange, FaultServer, status
from rig.images import KIB, MIB, ImageFactory
from rig.proxy import Entrepot
from rig.road import Road
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

LIMIT = "You have reached your pull rate limit"


@pytest.fixture
def road(upstreams: Upstreams) -> Iterator[Road]:
    """The only way to the registries."""
    road = Road(upstreams.nginx.tls_port)
    yield road
    road.stop()


@pytest.fixture
def entrepot(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, faults: FaultServer, road: Road
) -> Entrepot:
    return start_entrepot(resolve=[*road.leading(upstreams.resolve), *faults.resolve])


def test_a_cold_pull_ends_well_though_its_registry_dies_and_returns(
    dockerd: Dockerd, faults: FaultServer, images: ImageFactory
) -> None:
    """Docker sees one slow layer; of that, upstream sends no byte twice but one.

    The layer is too small to be fetched by several connections, where upstream seems slow.
    """
    image = images.image("dies", [16 * MIB])
    (layer,), content = image.layers, faults.publish(image, "dies", "1")
    path, half = f"/v2/dies/blobs/{layer.digest}", layer.size // 2
    blob, returned = content[layer.digest], threading.Event()
    blob.cut_after, blob.cuts, blob.reset = half, 1, False

    def answer(exchange: Exchange) -> None:
        is_dead = exchange.request.range is not None and not returned.is_set()
        (status(502) if is_dead else blob)(exchange)

    faults.routes[path] = answer
    with ThreadPoolExecutor(1) as pool:
        pulling = pool.submit(dockerd.pull, "fault.example.test/dies:1")
        try:
            faults.await_request(path=path, method="GET", status=502)
        finally:
            returned.set()
        check(pulling.result())
    gets = [one for one in faults.of(path=path, method="GET") if one.status != 502]
    assert [(one.status, one.range, one.sent) for one in gets] == [
        (200, None, half),
        (206, f"bytes={half - 1}-", layer.size - half + 1),  # a byte again, to have a 206
    ]


def test_a_warm_pull_needs_no_registry(
    any_client: RealClient, entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Registry and token server are dead; an image of several platforms is pulled all the same."""
    name = "registry.example.test/public/warm:1"
    image = images.multi_arch("warm while dead", [64 * KIB])
    upstreams.push(image, name)
    check(any_client.pull(name))
    any_client.remove(name)
    with upstreams.down():
        check(any_client.pull(name))
    assert entrepot.counter("tag_stale") >= 1


def test_a_black_hole_is_waited_for_once(
    dockerd: Dockerd, entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory, road: Road
) -> None:
    """Docker pulls what is warm while nothing arrives any more; the second pull asks nobody."""
    name = upstreams.push(images.image("hole", [64 * KIB] * 3), "hub.example.test/hole:1")
    check(dockerd.pull(name))
    before = entrepot.counter("upstream_requests")
    road.freeze()
    for _ in range(2):
        dockerd.remove(name)
        check(dockerd.pull(name))
        assert entrepot.counter("upstream_requests") == before + 1
    road.thaw()


def test_a_registry_that_has_had_enough(
    dockerd: Dockerd, entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """After so many requests all is 429: docker is told why, and what is warm is pulled."""
    warm, cold = images.image("enough"), images.image("too much")
    for image, tag in ((warm, "1"), (cold, "2")):
        faults.publish(image, "app", tag)
    check(dockerd.pull("fault.example.test/app:1"))
    faults.limit_after(3, LIMIT)
    refused = dockerd.pull("fault.example.test/app:2")
    dockerd.remove("fault.example.test/app:1")
    check(dockerd.pull("fault.example.test/app:1"))
    assert refused.returncode != 0
    assert LIMIT in refused.stderr
    assert entrepot.log.count(" rate_limited ") == 1

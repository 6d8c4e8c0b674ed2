"""Real clients while their registry is dead, dies, or has had enough."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from rig.clients import Dockerd, RealClient
from rig.command import check
from rig.faults import FaultServer
from rig.images import KIB, MIB, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.road import Road
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

DIES = "target.example.test/dies:1"
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
    dockerd: Dockerd, upstreams: Upstreams, images: ImageFactory, road: Road
) -> None:
    """Docker sees one slow layer; of that, upstream sends no byte twice but those under way."""
    # More than all sockets on the way hold, which get there although the registry is dead.
    image = images.image("dies", [64 * MIB])
    upstreams.push(image, DIES)
    (layer,), registry = image.layers, upstreams.host("target.example.test").registry.daemon
    mark = upstreams.mark()
    road.hold_after(8 * MIB)
    with ThreadPoolExecutor(1) as pool:
        pulling = pool.submit(dockerd.pull, DIES)
        try:
            eventually(lambda: road.is_holding, within=20, what="half a layer")
            registry.kill9()
            road.release()
            refused = lambda: upstreams.requests(mark).of(kind="blob", status=502)  # noqa: E731
            eventually(refused, within=20, what="a vain attempt to go on")
        finally:
            road.release()
            if not registry.running():
                registry.start()
        check(pulling.result())
    gets = [seen for seen in upstreams.requests(mark).blob_gets if layer.digest in seen.target]
    assert [(seen.status, bool(seen.range)) for seen in gets] == [(200, False), (206, True)]
    assert gets[1].range.startswith("bytes=")
    start = int(gets[1].range.removeprefix("bytes=").rstrip("-"))
    assert gets[1].bytes == layer.size - start
    assert gets[0].bytes == start + 1  # one byte is asked for again, to have a 206


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

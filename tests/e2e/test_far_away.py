"""A registry far away: what a warm pull still waits for there."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from rig.clients import Containerd, RealClient
from rig.command import check
from rig.images import KIB, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.road import Road
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

NAME = "docker.io/library/far:1"
TOKEN, HEAD = ("token", "GET", 200), ("manifest", "HEAD", 200)
REFUSED = ("manifest", "HEAD", 401)


@pytest.fixture
def road(upstreams: Upstreams) -> Iterator[Road]:
    """The only way to the registries; it counts connections."""
    road = Road(upstreams.nginx.tls_port)
    yield road
    road.stop()


@pytest.fixture
def entrepot(start_entrepot: "StartEntrepot", upstreams: Upstreams, road: Road) -> Entrepot:
    return start_entrepot(resolve=road.leading(upstreams.resolve))


def test_a_warm_pull_waits_for_a_token_and_a_head(
    any_client: RealClient,
    entrepot: Entrepot,
    upstreams: Upstreams,
    images: ImageFactory,
    road: Road,
) -> None:
    """Eight layers with tokens and a content network cost two round trips, over open connections.

    containerd does not ping, but asks for the tag without a token first: three.
    """
    image = images.image("far", [8 * KIB] * 8)
    upstreams.push(image, NAME.replace("docker.io", "registry-1.docker.io"))
    check(any_client.pull(NAME))
    count = len({blob.digest for blob in image.blobs})
    eventually(lambda: entrepot.log.count("blob_stored digest=") == count, what="stored")
    any_client.remove(NAME)

    mark, connections = upstreams.mark(), road.connections
    check(any_client.pull(NAME))
    seen = [(one.kind, one.method, one.status) for one in upstreams.requests(mark)]
    assert seen == [*([REFUSED] if isinstance(any_client, Containerd) else []), TOKEN, HEAD]
    assert road.connections == connections

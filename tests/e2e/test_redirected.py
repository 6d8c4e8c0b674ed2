"""Real engines behind a gateway that redirects: nothing is set at them but whom they trust."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.clients import Dockerd, Podman, RealClient, Skopeo
from rig.command import with_file
from rig.gateway import World
from rig.images import ImageFactory
from rig.needs import need
from rig.proxy import Entrepot
from rig.route import Route, bundle
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from e2e.conftest import Drivers

REGISTRY = "registry.example.test"
HOSTS = (REGISTRY, "auth.example.test")


@pytest.fixture
def world(upstreams: Upstreams) -> Iterator[World]:
    need("ip", "nft", "nsenter", "unshare")
    world = World(upstreams)
    try:
        for name in HOSTS:
            world.add(name)
        world.redirect("install")
        yield world
    finally:
        world.stop()


@pytest.fixture
def entrepot(world: World, folder: Path) -> Iterator[Entrepot]:
    with world.proxied(folder) as proxy:
        yield proxy


@pytest.fixture(params=["skopeo-IPv4", "podman-IPv6", "dockerd-IPv4"])
def engine(
    request: pytest.FixtureRequest,
    world: World,
    entrepot: Entrepot,
    folder: Path,
    drivers: "Drivers",
    running: ExitStack,
) -> RealClient:
    """An engine in the clients' network, whose names lead to the hosts themselves."""
    name, _, family = request.param.partition("-IPv")
    need(name)
    hosts = folder / "hosts"
    hosts.write_text("".join(f"{at} {host}\n" for host, at in world.at(int(family)).items()))
    resolver = folder / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\n")  # nobody: an answer at once
    files = (*with_file("/etc/hosts", hosts), *with_file("/etc/resolv.conf", resolver))
    within = (*world.networks.clients.prefix, *files)
    route = Route("", bundle(folder / "trusted.pem", entrepot.ca_pem), within)
    client: RealClient
    if name == "dockerd":
        client = Dockerd(folder / name, route, storage_driver=drivers.docker)
    elif name == "podman":
        client = Podman(folder / name, route, storage_driver=drivers.podman)
    else:
        client = Skopeo(folder / name, route)
    running.callback(client.stop)
    client.start()
    return client


def test_a_pull_and_another(
    engine: RealClient, entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """The first pull is fetched, the second costs no layer upstream."""
    image = images.image("redirected")
    name = upstreams.push(image, f"{REGISTRY}/public/redirected:1")
    for fetched in (len(image.blobs), 0):
        mark = upstreams.mark()
        finished = engine.pull(name)
        assert finished.returncode == 0, finished
        entrepot.await_stored(blob.digest for blob in image.blobs)
        assert len(upstreams.requests(mark).blob_gets) == fetched
        engine.remove(name)
    assert entrepot.counter("blob_hits") >= len(image.blobs)

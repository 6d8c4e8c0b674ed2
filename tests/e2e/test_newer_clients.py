"""The clients of later Debian releases, where scripts/newer-clients has unpacked them.

What they do otherwise than their elders: docker has containerd's store, containerd 2 fetches a
layer by parallel ranges, and all of them unpack zstd.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.test_pull import assert_cold_then_warm, blobs_fetched
from rig import newer
from rig.clients import Containerd, Dockerd, Podman, RealClient, Skopeo
from rig.command import Program, check
from rig.faults import FaultServer
from rig.images import KIB, MIB, ImageFactory
from rig.needs import need
from rig.process import clean_environment
from rig.proxy import Entrepot
from rig.route import Route
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from e2e.conftest import Drivers

WANTED = "no .clients: run scripts/newer-clients, perhaps with the name of a Debian release"
SIZES = (12 * MIB, 300 * KIB, 40 * KIB)


@pytest.fixture(params=newer.releases("dockerd", "podman") or [""])
def release(request: pytest.FixtureRequest) -> str:
    """Each Debian release whose clients are there."""
    if not request.param:
        pytest.skip(WANTED)
    need("dockerd", "containerd", "ctr", "podman", "skopeo", "unshare")
    return str(request.param)


@pytest.fixture
def route(entrepot: Entrepot, release: str) -> Route:
    """The way through the proxy, from among the release's programs."""
    return replace(entrepot.route(), within=newer.within(release))


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _run(client: RealClient, running: ExitStack) -> RealClient:
    running.callback(client.stop)
    client.start()
    return client


@pytest.fixture(params=["dockerd", "dockerd with containerd's store", "ctr", "podman", "skopeo"])
def client(
    request: pytest.FixtureRequest,
    route: Route,
    folder: Path,
    drivers: "Drivers",
    running: ExitStack,
) -> RealClient:
    """Each of the clients in turn."""
    config = {"features": {"containerd-snapshotter": True}}
    here = folder / "client"
    match request.param:
        case "dockerd":
            client: RealClient = Dockerd(here, route, storage_driver=drivers.docker)
        case "dockerd with containerd's store":
            client = Dockerd(here, route, storage_driver=drivers.containerd, config=config)
        case "ctr":
            client = Containerd(here, route, snapshotter=drivers.containerd)
        case "podman":
            client = Podman(here, route, storage_driver=drivers.podman)
        case _:
            client = Skopeo(here, route)
    return _run(client, running)


@pytest.mark.slow
def test_a_second_pull_takes_no_blob_and_no_manifest_from_upstream(
    client: RealClient, entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 3: an image with a zstd layer comes from upstream once, by a token."""
    image = images.image("newer clients", SIZES, compression="zstd")
    name = "registry.example.test/public/newer:1"
    assert_cold_then_warm(client, entrepot, upstreams, name, image)
    assert "transfer_cut client=" not in entrepot.log


@pytest.mark.slow
def test_a_kubelets_pull_by_parallel_ranges_fetches_each_blob_once(
    route: Route,
    release: str,
    folder: Path,
    entrepot: Entrepot,
    upstreams: Upstreams,
    images: ImageFactory,
    drivers: "Drivers",
    running: ExitStack,
) -> None:
    """Promise 3: CRI, which takes a layer in parts where containerd can, costs one fetch."""
    (folder / "certs").mkdir()
    client = Containerd(
        folder / "client", route, snapshotter=drivers.containerd, certs=folder / "certs"
    )
    _run(client, running)
    image = images.image(f"cri {release}", (24 * MIB, 300 * KIB))
    name = upstreams.push(image, "hub.example.test/newer/cri:1")
    mark = upstreams.mark()
    client.cri_pull(name)
    assert blobs_fetched(upstreams.requests(mark)) == sorted(blob.digest for blob in image.blobs)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    client.remove(name, f"hub.example.test/newer/cri@{image.digest}")
    mark = upstreams.mark()
    client.cri_pull(name)
    assert upstreams.requests(mark).of(kind="blob", method="GET") == ()
    assert "transfer_cut client=" not in entrepot.log


@pytest.mark.slow
def test_oras_pulls_an_artifact_once(
    route: Route, folder: Path, entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """Promise 3: what is no image of any engine comes from upstream once too."""
    image = images.image("oras", (40 * KIB,))
    faults.publish(image, "artifacts/app", "1")
    (layer,), target, name = image.layers, folder / "copy", "fault.example.test/artifacts/app:1"
    env = clean_environment(folder, **route.environment())
    oras = Program(folder / "oras", [*route.within, "/usr/bin/oras"], env)
    for _ in range(2):
        check(oras.run("copy", name, "--to-oci-layout", f"{target}:1"))
        entrepot.await_stored([layer.digest])
        assert (target / "blobs/sha256" / layer.digest[7:]).read_bytes() == layer.read()
        shutil.rmtree(target)
    path = f"/v2/artifacts/app/blobs/{layer.digest}"
    assert len([one for one in faults.of(path=path, method="GET") if one.sent > 1]) == 1

"""Fixtures for tests with real clients, each private to its test and gone after it."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from rig.clients import Containerd, Dockerd, Podman, RealClient, Skopeo
from rig.disk import overlay_works
from rig.needs import need, need_root
from rig.proxy import Entrepot

AnyClient = TypeVar("AnyClient", bound=RealClient)

INSECURE = ("plain.example.test:5000",)


@pytest.fixture(autouse=True)
def _needs_root() -> None:
    need_root()


@dataclass(frozen=True, slots=True)
class Drivers:
    """What each client calls its way of storing layers."""

    docker: str
    containerd: str
    podman: str


COPIES = Drivers("vfs", "native", "vfs")
OVERLAYS = Drivers("overlay2", "overlayfs", "overlay")


@pytest.fixture(scope="session")
def drivers(rig_folder: Path) -> Drivers:
    """Overlays where they work (they are twice as fast for large images), else plain copies."""
    need_root()
    return OVERLAYS if overlay_works(rig_folder / "overlay") else COPIES


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """What is entered or pushed here is stopped after the test."""
    with ExitStack() as stack:
        yield stack


def _run(client: AnyClient, running: ExitStack) -> AnyClient:
    running.callback(client.stop)
    client.start()
    return client


@pytest.fixture
def dockerd(entrepot: Entrepot, folder: Path, running: ExitStack, drivers: Drivers) -> Dockerd:
    need("dockerd", "docker", "unshare")
    client = Dockerd(
        folder / "docker", entrepot.route(), storage_driver=drivers.docker, insecure=INSECURE
    )
    return _run(client, running)


@pytest.fixture
def containerd(
    entrepot: Entrepot, folder: Path, running: ExitStack, drivers: Drivers
) -> Containerd:
    need("containerd", "ctr")
    client = Containerd(folder / "ctr", entrepot.route(), snapshotter=drivers.containerd)
    return _run(client, running)


@pytest.fixture
def skopeo(entrepot: Entrepot, folder: Path, running: ExitStack) -> Skopeo:
    need("skopeo", "unshare")
    return _run(Skopeo(folder / "skopeo", entrepot.route()), running)


@pytest.fixture
def podman(entrepot: Entrepot, folder: Path, running: ExitStack, drivers: Drivers) -> Podman:
    need("podman", "unshare")
    client = Podman(folder / "podman", entrepot.route(), storage_driver=drivers.podman)
    return _run(client, running)


@pytest.fixture(params=["dockerd", "containerd", "skopeo", "podman"])
def any_client(request: pytest.FixtureRequest) -> RealClient:
    """Each of the clients in turn, all through the same `entrepot` fixture."""
    client: RealClient = request.getfixturevalue(request.param)
    return client

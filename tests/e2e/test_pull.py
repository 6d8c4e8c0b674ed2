"""Real clients pull images of every kind: the second time nothing of them leaves upstream.

The proxy and the clients live as long as this module; every test has images of its own.
"""

import hashlib
import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from rig.clients import Containerd, Dockerd, Podman, RealClient, Skopeo
from rig.command import Finished, check
from rig.faults import FaultServer, Gate
from rig.images import KIB, Format, Image, ImageFactory
from rig.needs import need, need_root
from rig.process import eventually
from rig.proxy import Entrepot
from rig.record import Requests
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from e2e.conftest import Drivers

AnyClient = TypeVar("AnyClient", bound=RealClient)

# dockerd 20.10 cannot unpack zstd layers (CLIENTS.md), so it has no part in that story.
UNPACK_ZSTD = ("containerd", "skopeo", "podman")
SIZES = (200 * KIB, 90 * KIB, 40 * KIB, 8 * KIB)
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
REGISTRIES = {
    "tokens": "registry.example.test/public",
    "redirects-to-a-cdn": "hub.example.test",
    "docker-hub": "docker.io/library",
    "redirects-manifests": "moved.example.test",
    "another-port": "ports.example.test:5443",
    "plain-http": "plain.example.test:5000",
    "htpasswd": "basic.example.test",
}


@pytest.fixture(scope="module")
def running() -> Iterator[ExitStack]:
    """What is entered or pushed here is stopped after the last test."""
    need_root()
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def folder(rig_folder: Path) -> Path:
    folder = rig_folder / "pull"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def entrepot(
    folder: Path, upstreams: Upstreams, fault_server: FaultServer, running: ExitStack
) -> Entrepot:
    options = {
        "upstream_ca": str(upstreams.authority.pem),
        "resolve": [*upstreams.resolve, *fault_server.resolve],
    }
    entrepot = Entrepot(folder / "entrepot", options)
    running.callback(entrepot.kill9)
    entrepot.start()
    return entrepot


def run(client: AnyClient, running: ExitStack) -> AnyClient:
    running.callback(client.stop)
    client.start()
    return client


@pytest.fixture(scope="module")
def dockerd(folder: Path, entrepot: Entrepot, drivers: "Drivers", running: ExitStack) -> Dockerd:
    need("dockerd", "docker", "unshare")
    driver, plain = drivers.docker, ["plain.example.test:5000"]
    client = Dockerd(folder / "docker", entrepot.route(), storage_driver=driver, insecure=plain)
    run(client, running)
    check(client.login("basic.example.test", "alice", "wonderland"))
    return client


@pytest.fixture(scope="module")
def containerd(
    folder: Path, entrepot: Entrepot, drivers: "Drivers", running: ExitStack
) -> Containerd:
    need("containerd", "ctr")
    client = Containerd(folder / "ctr", entrepot.route(), snapshotter=drivers.containerd)
    return run(client, running)


@pytest.fixture(scope="module")
def skopeo(folder: Path, entrepot: Entrepot, running: ExitStack) -> Skopeo:
    need("skopeo", "unshare")
    return run(Skopeo(folder / "skopeo", entrepot.route()), running)


@pytest.fixture(scope="module")
def podman(folder: Path, entrepot: Entrepot, drivers: "Drivers", running: ExitStack) -> Podman:
    need("podman", "unshare")
    client = Podman(folder / "podman", entrepot.route(), storage_driver=drivers.podman)
    return run(client, running)


def pull(client: RealClient, name: str) -> Finished:
    """Pull as each client wants to be told about plain HTTP and about a password."""
    plain, private = name.startswith("plain."), name.startswith("basic.")
    match client:
        case Containerd():
            user = "alice:wonderland" if private else None
            return client.pull(name, *(["--plain-http"] if plain else []), user=user)
        case Skopeo():
            login = ["--src-creds=alice:wonderland"] if private else []
            return client.pull(name, *login, *(["--src-tls-verify=false"] if plain else []))
        case Podman():
            login = ["--creds=alice:wonderland"] if private else []
            return client.pull(name, *login, *(["--tls-verify=false"] if plain else []))
        case _:
            return client.pull(name)


def identity(client: RealClient, name: str) -> str:
    """Return the digest by which a client knows a pulled image (see `expected`)."""
    match client:
        case Dockerd():
            return str(client.inspect(name)["Id"])
        case Podman():
            form = "--format={{.Id}}"
            return f"sha256:{check(client.cli.run('image', 'inspect', form, name)).strip()}"
        case Containerd():
            return check(client.ctr.run("images", "ls", f"name=={name}")).splitlines()[1].split()[2]
        case Skopeo():
            manifest = (client.target(name) / "manifest.json").read_bytes()
            return f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        case _:
            raise TypeError(client)


def expected(client: RealClient, image: Image, own: Image) -> str:
    """Return what `identity` should be: the root, this platform's manifest, or its config.

    docker and podman check the layers against the config, the others against the manifest.
    """
    match client:
        case Containerd():
            return image.digest
        case Dockerd(names_manifests=True):
            return image.digest
        case Skopeo():
            return own.digest
        case _:
            return own.configs[0].digest


def assert_cold_then_warm(
    client: RealClient,
    entrepot: Entrepot,
    upstreams: Upstreams,
    name: str,
    image: Image,
    own: Image | None = None,
) -> None:
    """Pull, remove, pull: each blob comes once from upstream; `own` is this platform's part."""
    own = own or image
    upstreams.push(image, name.replace("docker.io/", "registry-1.docker.io/"))
    mark = upstreams.mark()
    check(pull(client, name))
    assert identity(client, name) == expected(client, image, own)
    cold = upstreams.requests(mark)
    assert blobs_fetched(cold) == sorted(blob.digest for blob in own.blobs)

    entrepot.await_stored(blob.digest for blob in own.blobs)
    client.remove(name)
    mark, hits = upstreams.mark(), entrepot.counter("blob_hits")
    check(pull(client, name))
    assert identity(client, name) == expected(client, image, own)
    warm = upstreams.requests(mark)
    assert warm.of(kind="blob", method="GET") == ()
    assert warm.manifest_gets.where(lambda seen: seen.status != 401) == ()  # no manifest sent
    assert entrepot.counter("blob_hits") - hits >= len(own.blobs)  # it did ask for all of them


def blobs_fetched(requests: Requests) -> list[str]:
    """Return the digests of all blobs that were sent, in order, from registries and CDNs."""
    parts = [one.path.removesuffix("/data").rpartition("/")[2] for one in requests.blob_gets]
    return sorted(f"sha256:{part.removeprefix('sha256:')}" for part in parts)


def test_a_second_pull_takes_no_blob_and_no_manifest_from_upstream(
    any_client: RealClient, entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A multi-layer OCI image comes from upstream once; the same image is pulled again locally."""
    name = f"hub.example.test/layers/{type(any_client).__name__.lower()}:1"
    image = images.image(name, SIZES)
    assert_cold_then_warm(any_client, entrepot, upstreams, name, image)


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_of_a_multi_arch_image_one_platform_is_fetched_once(
    any_client: RealClient,
    entrepot: Entrepot,
    upstreams: Upstreams,
    images: ImageFactory,
    form: Format,
) -> None:
    """An OCI index or Docker list is cached with the platform that was pulled, nothing else."""
    name = f"hub.example.test/{form}/{type(any_client).__name__.lower()}:1"
    image = images.multi_arch(name, form=form)
    own = images.image(f"{name}-{ARCH}", form=form, arch=ARCH)
    assert_cold_then_warm(any_client, entrepot, upstreams, name, image, own)


@pytest.mark.parametrize("any_client", UNPACK_ZSTD, indirect=True)
def test_zstd_layers_arrive_as_they_are(
    any_client: RealClient, entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Layers compressed with zstd are cached and served byte for byte."""
    name = f"hub.example.test/zstd/{type(any_client).__name__.lower()}:1"
    image = images.image(name, compression="zstd")
    assert_cold_then_warm(any_client, entrepot, upstreams, name, image)


@pytest.mark.parametrize("registry", REGISTRIES.values(), ids=REGISTRIES.keys())
def test_an_image_is_pulled_under_its_own_name(
    any_client: RealClient,
    entrepot: Entrepot,
    upstreams: Upstreams,
    images: ImageFactory,
    registry: str,
) -> None:
    """Any registry is cached, with its image names, port and login as they are."""
    name = f"{registry}/{type(any_client).__name__.lower()}:1"
    assert_cold_then_warm(any_client, entrepot, upstreams, name, images.image(name))


def test_four_clients_in_turn_cost_upstream_one_fetch_of_each_blob(
    dockerd: Dockerd,
    containerd: Containerd,
    skopeo: Skopeo,
    podman: Podman,
    upstreams: Upstreams,
    images: ImageFactory,
) -> None:
    """What one kind of client pulled is there for every other kind."""
    image = images.image("four in turn", SIZES)
    name = upstreams.push(image, "registry.example.test/public/four:1")
    mark = upstreams.mark()
    for client in (dockerd, containerd, skopeo, podman):
        check(pull(client, name))
        assert identity(client, name) == expected(client, image, image)
    seen = upstreams.requests(mark)
    assert blobs_fetched(seen) == sorted(blob.digest for blob in image.blobs)


def test_four_clients_at_once_share_one_fetch(
    dockerd: Dockerd,
    containerd: Containerd,
    skopeo: Skopeo,
    podman: Podman,
    entrepot: Entrepot,
    faults: FaultServer,
    images: ImageFactory,
) -> None:
    """Promise 3: one upstream fetch per blob, however many clients ask while it runs."""
    image = images.image("four at once", [400 * KIB])
    name, layer, gate = "fault.example.test/four:1", image.layers[0], Gate(100 * KIB)
    faults.publish(image, "four", "1")[layer.digest].gate = gate
    clients = (dockerd, containerd, skopeo, podman)
    before = entrepot.counter("blob_collapsed")
    with ThreadPoolExecutor(len(clients)) as pool:
        pulls = [pool.submit(pull, client, name) for client in clients]
        try:
            eventually(
                lambda: entrepot.counter("blob_collapsed") - before >= 3,
                what="three followers",
            )
        finally:
            gate.open()
        for one in pulls:
            check(one.result())
    path = f"/v2/four/blobs/{layer.digest}"
    assert [(seen.range, seen.sent) for seen in faults.of(path=path, method="GET")] == [
        (None, layer.size)
    ]
    for client in clients:
        assert identity(client, name) == expected(client, image, image)

"""A real containerd whose `_default/hosts.toml` scripts/containerd-mirror.sh wrote."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.clients import Containerd
from rig.command import check
from rig.images import Image, ImageFactory
from rig.needs import need
from rig.ports import free_port
from rig.proxy import Entrepot
from rig.route import KnownNames
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot
    from e2e.conftest import Drivers

NAMES = ("ports.example.test", "basic.example.test")
Pull = Callable[[str], object]

SCRIPT = Path(__file__).parents[2] / "scripts" / "containerd-mirror.sh"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def proxy(start_entrepot: "StartEntrepot", upstreams: Upstreams, port: int) -> Entrepot:
    """A mirror of any registry; it finds the registry where containerd does."""
    tls = upstreams.nginx.tls_port
    resolve = [f"{name}:{tls}:127.0.0.1:{tls}" for name in NAMES]
    return start_entrepot(mirror=f"127.0.0.1:{port}", resolve=resolve)


@pytest.fixture
def certs(folder: Path, port: int) -> Path:
    """What the script writes, in a folder of the test's own."""
    certs = folder / "certs.d"
    config = folder / "config.toml"
    registry = '[plugins."io.containerd.grpc.v1.cri".registry]'
    config.write_text(f'version = 2\n{registry}\nconfig_path = "{certs}"\n')
    options = ["--hosts-dir", str(certs), "--config", str(config)]
    words = ["install", f"http://127.0.0.1:{port}", *options]
    done = subprocess.run(["sh", SCRIPT, *words], check=True, capture_output=True, text=True)
    assert f"Wrote {certs}/_default/hosts.toml" in done.stdout
    return certs


@pytest.fixture
def containerd(
    folder: Path, certs: Path, upstreams: Upstreams, running: ExitStack, drivers: "Drivers"
) -> Containerd:
    """Without a proxy; it can reach the registry by itself, for it knows the address and the CA."""
    need("containerd", "ctr", "curl", "unshare")
    client = Containerd(
        folder / "ctr",
        KnownNames(folder, upstreams.authority.pem, NAMES),
        snapshotter=drivers.containerd,
        certs=certs,
    )
    running.callback(client.stop)
    client.start()
    return client


@pytest.fixture(params=["ctr", "CRI"])
def pull(request: pytest.FixtureRequest, containerd: Containerd, certs: Path) -> Pull:
    """How a person pulls, and how Kubernetes does."""
    if request.param == "CRI":
        return containerd.cri_pull
    return lambda name: check(containerd.pull(name, "--hosts-dir", str(certs)))


@pytest.fixture
def image(images: ImageFactory) -> Image:
    return images.image("containerd mirror")


def test_cold_warm_and_without_the_cache(
    proxy: Entrepot,
    containerd: Containerd,
    pull: Pull,
    upstreams: Upstreams,
    image: Image,
) -> None:
    """Each layer comes from the registry once; with the mirror down it comes from there again."""
    upstreams.push(image, "ports.example.test:5443/acme/road:1")
    name = f"ports.example.test:{upstreams.nginx.tls_port}/acme/road:1"
    whole = sum(blob.size for blob in image.blobs)

    mark = upstreams.mark()
    pull(name)
    assert upstreams.requests(mark).blob_bytes == whole
    assert proxy.counter("blob_misses") == len(image.blobs)

    proxy.await_stored(blob.digest for blob in image.blobs)
    containerd.remove(*containerd.images())
    mark = upstreams.mark()
    pull(name)
    warm = upstreams.requests(mark)
    assert (warm.blob_gets, warm.manifest_gets) == ((), ())
    assert proxy.counter("blob_hits") == len(image.blobs)

    proxy.terminate()
    containerd.remove(*containerd.images())
    mark = upstreams.mark()
    pull(name)
    assert upstreams.requests(mark).blob_bytes == whole


def test_a_private_image_comes_from_the_registry_itself(
    proxy: Entrepot,
    containerd: Containerd,
    certs: Path,
    upstreams: Upstreams,
    image: Image,
) -> None:
    """Where the mirror has no account, containerd goes on with its own login; nothing is kept."""
    upstreams.push(image, "basic.example.test/acme/private:1")
    name = f"basic.example.test:{upstreams.nginx.tls_port}/acme/private:1"
    mark = upstreams.mark()
    check(containerd.pull(name, "--hosts-dir", str(certs), user="alice:wonderland"))
    asked = upstreams.requests(mark)
    assert asked.blob_bytes == sum(blob.size for blob in image.blobs)
    assert proxy.counter("host_probed") == 1
    assert proxy.counter("blob_stored") == 0
    assert "wonderland" not in proxy.log
    assert containerd.pull(name, "--hosts-dir", str(certs)).returncode != 0

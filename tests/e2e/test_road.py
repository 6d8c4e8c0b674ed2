"""Other roads to the cache: mitmdump with the addon's file, a restart, a corporate proxy."""

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.clients import Dockerd
from rig.command import check
from rig.corporate import CorporateProxy
from rig.images import Image, ImageFactory
from rig.needs import need
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot
    from e2e.conftest import Drivers

PASSWORD = "odd:/@"  # noqa: S105 - the corporate proxy's


@pytest.fixture
def corporate(upstreams: Upstreams) -> Iterator[CorporateProxy]:
    proxy = CorporateProxy(upstreams.resolve, password=PASSWORD)
    yield proxy
    proxy.stop()


@pytest.fixture
def behind(start_entrepot: "StartEntrepot", corporate: CorporateProxy) -> Entrepot:
    """A proxy that reaches everything, names included, through the corporate one."""
    return start_entrepot(upstream_proxy=corporate.url, resolve=[])


def docker(entrepot: Entrepot, folder: Path, running: ExitStack, drivers: "Drivers") -> Dockerd:
    need("dockerd", "docker", "unshare")
    client = Dockerd(folder / "docker", entrepot.route(), storage_driver=drivers.docker)
    running.callback(client.stop)
    client.start()
    return client


@pytest.fixture
def image(images: ImageFactory) -> Image:
    return images.image("on the road")


@pytest.fixture
def name(upstreams: Upstreams, image: Image) -> str:
    return upstreams.push(image, "hub.example.test/road:1")


def test_mitmdump_with_the_addons_file_caches_as_well(
    start_entrepot: "StartEntrepot",
    folder: Path,
    running: ExitStack,
    drivers: "Drivers",
    upstreams: Upstreams,
    image: Image,
    name: str,
) -> None:
    """`mitmdump -s addon/main.py` is the same cache: a second pull takes no blob from upstream."""
    client = docker(start_entrepot(runner="mitmdump"), folder, running, drivers)
    assert_cold_then_warm(client, upstreams, image, name)


def assert_cold_then_warm(client: Dockerd, upstreams: Upstreams, image: Image, name: str) -> None:
    mark = upstreams.mark()
    check(client.pull(name))
    assert upstreams.requests(mark).blob_bytes == sum(blob.size for blob in image.blobs)
    client.remove(name)
    mark = upstreams.mark()
    check(client.pull(name))
    assert client.inspect(name)["Id"] == image.configs[0].digest
    warm = upstreams.requests(mark)
    assert warm.blob_gets == ()
    assert warm.manifest_gets == ()


def test_the_cache_outlives_a_restart(
    dockerd: Dockerd, entrepot: Entrepot, upstreams: Upstreams, name: str
) -> None:
    """What was pulled before a restart is served after it, with the same authority."""
    check(dockerd.pull(name))
    dockerd.remove(name)
    entrepot.restart()
    mark = upstreams.mark()
    check(dockerd.pull(name))
    warm = upstreams.requests(mark)
    assert warm.of(kind="blob", method="GET") == ()
    assert warm.manifest_gets == ()


def test_a_pull_goes_through_a_corporate_proxy_once(
    behind: Entrepot,
    corporate: CorporateProxy,
    folder: Path,
    running: ExitStack,
    drivers: "Drivers",
    upstreams: Upstreams,
    image: Image,
    name: str,
) -> None:
    """Registries behind a proxy with a password are cached, CDN and all."""
    client = docker(behind, folder, running, drivers)
    assert_cold_then_warm(client, upstreams, image, name)
    assert {"hub.example.test:443", "cdn.example.test:443"} <= set(corporate.targets)
    assert corporate.refused == []


def test_a_push_goes_through_a_corporate_proxy(
    behind: Entrepot,
    corporate: CorporateProxy,
    folder: Path,
    running: ExitStack,
    drivers: "Drivers",
    upstreams: Upstreams,
    name: str,
) -> None:
    """What mitmproxy itself sends upstream, uploads and tokens, takes the corporate proxy too."""
    client, new = docker(behind, folder, running, drivers), "registry.example.test/alice/road:1"
    check(client.login("registry.example.test", "alice", "wonderland"))
    check(client.pull(name))
    check(client.tag(name, new))
    mark = upstreams.mark()
    check(client.push(new))
    assert upstreams.requests(mark).of(kind="manifest", method="PUT", status=201)
    assert {"registry.example.test:443", "auth.example.test:443"} <= set(corporate.targets)
    assert corporate.refused == []


def test_the_corporate_password_is_in_no_log(
    behind: Entrepot,
    corporate: CorporateProxy,
    folder: Path,
    running: ExitStack,
    drivers: "Drivers",
    name: str,
) -> None:
    """The upstream proxy's password is used and never said, even when the proxy refuses it."""
    client = docker(behind, folder, running, drivers)
    check(client.pull(name))
    corporate.authorization = "Basic changed"
    assert client.pull("docker.io/library/road:1").returncode != 0
    assert corporate.refused
    pair = base64.b64encode(f"proxy:{PASSWORD}".encode()).decode()
    said = [secret for secret in (PASSWORD, "odd%3A%2F%40", pair) if secret in behind.log]
    assert said == []

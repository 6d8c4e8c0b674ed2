"""Real clients that know nothing of a proxy: docker's registry-mirrors, containerd's hosts.toml.

The registries' names resolve nowhere, so whatever the clients get came from the mirror.
"""

import http.client
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.clients import Containerd, Dockerd, Skopeo
from rig.command import check, kill
from rig.faults import FaultServer, Gate
from rig.images import KIB, ImageFactory
from rig.needs import need
from rig.ports import free_port
from rig.route import Direct
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot
    from e2e.conftest import Drivers

StartDocker = Callable[[Sequence[str]], Dockerd]

HOSTS = """\
[host."http://127.0.0.1:{port}"]
  capabilities = ["pull", "resolve"]
"""


@pytest.fixture
def port() -> int:
    """Where the mirror listens."""
    return free_port()


@pytest.fixture
def start_docker(folder: Path, running: ExitStack, drivers: "Drivers") -> StartDocker:
    """Start a dockerd whose daemon.json names these mirrors, and that has no proxy."""
    need("dockerd", "docker", "unshare")

    def start(mirrors: Sequence[str]) -> Dockerd:
        config = {"registry-mirrors": list(mirrors)}
        client = Dockerd(
            folder / "docker", Direct(folder), storage_driver=drivers.docker, config=config
        )
        running.callback(client.stop)
        client.start()
        return client

    return start


def catalog(port: int) -> tuple[int, str | None, bytes]:
    """`curl http://127.0.0.1:PORT/v2/_catalog`: status, Content-Type, body."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/v2/_catalog")
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()


def test_a_mirror_of_docker_hub_as_everybody_sets_one_up(
    start_entrepot: "StartEntrepot",
    start_docker: StartDocker,
    upstreams: Upstreams,
    images: ImageFactory,
    port: int,
) -> None:
    """Catalog, pull, catalog, remove, pull: each command has the result of `registry:2`.

    The second pull takes no blob from upstream, and works when there is no upstream. A mirror
    that does not answer is passed over.
    """
    image, json = images.image("redis", [300 * KIB, 40 * KIB]), "application/json; charset=utf-8"
    upstreams.push(image, "registry-1.docker.io/library/redis:latest")
    proxy = start_entrepot(mirror=f"127.0.0.1:{port}=docker.io")
    docker = start_docker([f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{port}"])
    assert catalog(port) == (200, json, b'{"repositories":[]}\n')
    said = check(docker.pull("redis"))
    assert "Status: Downloaded newer image for redis:latest" in said
    assert docker.inspect("redis")["Id"] == image.configs[0].digest
    assert catalog(port) == (200, json, b'{"repositories":["library/redis"]}\n')

    proxy.await_stored(blob.digest for blob in image.blobs)
    check(docker.cli.run("rmi", "redis"))
    mark = upstreams.mark()
    check(docker.pull("redis"))
    assert docker.inspect("redis")["Id"] == image.configs[0].digest
    assert upstreams.requests(mark).blob_bytes == 0
    assert upstreams.requests(mark).manifest_gets == ()

    check(docker.cli.run("rmi", "redis"))
    with upstreams.down():
        check(docker.pull("redis"))
    missing = docker.pull("no-such-image")
    assert missing.returncode != 0


def test_a_pull_that_broke_off_goes_on_where_it_was(
    start_entrepot: "StartEntrepot",
    start_docker: StartDocker,
    faults: FaultServer,
    images: ImageFactory,
    port: int,
) -> None:
    """Finished layers are kept, and of the unfinished one upstream is asked for the rest only.

    Even where the proxy was killed in the middle.
    """
    image, gate = images.image("broken off", [60 * KIB, 30 * KIB, 1000 * KIB]), Gate(400 * KIB)
    last = image.layers[-1]
    faults.publish(image, "library/app", "1")[last.digest].gate = gate
    proxy = start_entrepot(mirror=f"127.0.0.1:{port}=fault.example.test")
    docker = start_docker([f"http://127.0.0.1:{port}"])
    pull = docker.cli.start("pull", "app:1")
    try:
        path = f"/v2/library/app/blobs/{last.digest}"
        faults.await_request(path=path, method="GET", sent=400 * KIB)
        proxy.await_stored(layer.digest for layer in image.layers[:-1])
        faults.await_taken()
        proxy.kill9()
    finally:
        kill(pull)
        gate.open()
    proxy.start()
    check(docker.pull("app:1"))
    assert docker.inspect("app:1")["Id"] == image.configs[0].digest
    whole, rest = faults.of(path=path, method="GET")
    assert whole.range is None
    assert rest.range is not None
    assert rest.range.startswith("bytes=")
    assert rest.range != "bytes=0-"
    assert rest.sent < last.size
    for blob in image.layers[:-1]:
        assert len(faults.of(path=f"/v2/library/app/blobs/{blob.digest}", method="GET")) == 1


def test_containerd_pulls_from_every_registry_by_one_mirror(
    start_entrepot: "StartEntrepot",
    folder: Path,
    running: ExitStack,
    drivers: "Drivers",
    upstreams: Upstreams,
    images: ImageFactory,
    port: int,
) -> None:
    """One hosts.toml for all; containerd names the registry by `?ns=`, its port included."""
    need("containerd", "ctr")
    (folder / "hosts" / "_default").mkdir(parents=True)
    (folder / "hosts" / "_default" / "hosts.toml").write_text(HOSTS.format(port=port))
    proxy = start_entrepot(mirror=f"127.0.0.1:{port}")
    client = Containerd(folder / "ctr", Direct(folder), snapshotter=drivers.containerd)
    running.callback(client.stop)
    client.start()
    names = ("docker.io/library/ctr:1", "ports.example.test:5443/team/ctr:1")
    for name in names:
        image = images.image(name)
        upstreams.push(image, name.replace("docker.io/", "registry-1.docker.io/"))
        check(client.pull(name, f"--hosts-dir={folder / 'hosts'}"))
        proxy.await_stored(blob.digest for blob in image.blobs)
    client.remove(*names)
    mark = upstreams.mark()
    for name in names:
        check(client.pull(name, f"--hosts-dir={folder / 'hosts'}"))
    assert upstreams.requests(mark).blob_bytes == 0
    assert catalog(port)[2] == (
        b'{"repositories":["docker.io/library/ctr","ports.example.test:5443/team/ctr"]}\n'
    )


def test_a_name_of_the_catalog_is_one_to_pull(
    start_entrepot: "StartEntrepot",
    folder: Path,
    running: ExitStack,
    upstreams: Upstreams,
    images: ImageFactory,
    port: int,
) -> None:
    """For clients that have no mirrors: the registry comes first in the repository's name."""
    need("skopeo", "unshare")
    image = images.image("by name")
    upstreams.push(image, "registry-1.docker.io/library/name:1")
    start_entrepot(mirror=f"127.0.0.1:{port}")
    client = Skopeo(folder / "skopeo", Direct(folder))
    running.callback(client.stop)
    name = f"127.0.0.1:{port}/docker.io/library/name"
    check(client.pull(f"{name}:1", "--src-tls-verify=false"))
    assert (client.target(f"{name}:1") / "manifest.json").read_bytes() == image.root.body
    assert catalog(port)[2] == b'{"repositories":["docker.io/library/name"]}\n'
    listed = check(client.cli.run("list-tags", "--tls-verify=false", f"docker://{name}"))
    assert '"1"' in listed

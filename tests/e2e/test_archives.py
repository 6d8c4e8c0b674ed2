"""An exported image is loaded by each engine, and what an engine saves is imported."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from entrepot.cli.warm.image_pull import own_platform
from rig.cached import command, told
from rig.clients import Containerd, Dockerd, Podman
from rig.command import check
from rig.images import ImageFactory
from rig.needs import need
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot
    from e2e.conftest import Drivers

NAME = "hub.example.test/archive/engine:1"


def test_every_engine_loads_it(
    entrepot: Entrepot,
    upstreams: Upstreams,
    images: ImageFactory,
    dockerd: Dockerd,
    containerd: Containerd,
    podman: Podman,
) -> None:
    """Under its own name, of an index all platforms or theirs; podman's archive is read, too."""
    image = images.multi_arch("archive-engines")
    upstreams.push(image, NAME)
    assert told(entrepot, "warm", NAME, "--platform", "all")["failed"] == 0
    entrepot.await_stored(blob.digest for blob in image.blobs)
    for options in ((), ("--platform", own_platform())):
        tar = entrepot.folder / f"engines-{len(options)}.tar"
        assert command(entrepot, "export", NAME, *options, "-o", str(tar)).returncode == 0
        check(dockerd.cli.run("load", "--input", tar))
        assert NAME in dockerd.images()
        check(containerd.ctr.run("images", "import", tar))
        assert NAME in containerd.images()
        check(podman.cli.run("load", "--input", tar))
        assert NAME in podman.images()
        for client in (dockerd, containerd, podman):
            client.remove(NAME)
    check(podman.cli.run("load", "--input", tar))
    theirs = entrepot.folder / "podman.tar"
    check(podman.cli.run("save", "--format", "oci-archive", "--output", theirs, NAME))
    assert command(entrepot, "rm", "hub.example.test/").returncode == 0
    assert [one["name"] for one in told(entrepot, "import", str(theirs))["images"]] == [NAME]


def test_the_other_cache_serves_it(
    entrepot: Entrepot,
    upstreams: Upstreams,
    images: ImageFactory,
    start_entrepot: "StartEntrepot",
    drivers: "Drivers",
) -> None:
    """Docker and podman pull what was imported, where no registry can be asked at all."""
    need("dockerd", "docker", "podman", "unshare")
    made = {
        NAME.replace("engine", "offline"): images.multi_arch("archive-offline"),
        "docker.io/library/offline:1": images.image("archive-offline-hub", form="docker"),
    }
    for name, image in made.items():
        upstreams.push(image, name.replace("docker.io", "registry-1.docker.io"))
    tar = entrepot.folder / "offline.tar"
    assert told(entrepot, "warm", *made)["failed"] == 0
    for image in made.values():
        entrepot.await_stored([image.configs[0].digest, *(one.digest for one in image.layers[:1])])
    assert command(entrepot, "export", *made, "-o", str(tar)).returncode == 0
    other = start_entrepot(offline=True, resolve=[])
    assert len(told(other, "import", str(tar))["images"]) == len(made)
    with ExitStack() as running:
        podman = Podman(other.folder / "podman", other.route(), storage_driver=drivers.podman)
        docker = Dockerd(other.folder / "docker", other.route(), storage_driver=drivers.docker)
        for client in (podman, docker):
            running.callback(client.stop)
            client.start()
            for name in made:
                check(client.pull(name))
    assert " tag_stale " in other.log
    assert other.counter("upstream_requests") == 0

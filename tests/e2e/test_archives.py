"""An exported image is loaded by each engine, and what an engine saves is imported."""

from entrepot.cli.warm.image_pull import own_platform
from rig.cached import command, told
from rig.clients import Containerd, Dockerd, Podman
from rig.command import check
from rig.images import ImageFactory
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

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

"""`GET /setup` with a real dockerd: set up by the line, proven by the daemon's own question."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ca.machine_daemons import Daemons
from ca.test_setup import small_store
from rig.client import Answer
from rig.images import ImageFactory
from rig.needs import need
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from pathlib import Path

    from ca.conftest import Machine

# The shells are compared in test_setup.py.
pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("machine", ["dash"], indirect=True)]

OPTIONS = (
    *("--exec-root=/run/docker", "--pidfile=/run/docker.pid", "--host=unix:///run/docker.sock"),
    *("--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false"),
    *("--ip-forward=false", "--ip-masq=false", "--userland-proxy=false"),
)


@pytest.fixture
def daemons(machine: "Machine", folder: "Path") -> Iterator[Daemons]:
    """A machine on which docker runs, as a service that knows nothing of the proxy."""
    need("dockerd", "containerd", "docker")
    machine.offer("docker")
    daemons = small_store(machine)
    command = " ".join(("dockerd", f"--data-root={folder}/data", *OPTIONS))
    daemons.add("docker", command, "docker --host=unix:///run/docker.sock version")
    daemons.restart("docker")
    yield daemons
    daemons.stop()


def test_docker_pulls_by_the_cache_after_one_line(
    machine: "Machine",
    daemons: Daemons,
    entrepot: Entrepot,
    upstreams: Upstreams,
    images: ImageFactory,
) -> None:
    """It is restarted once, asks through the cache, pulls by it; afterwards it is as it was."""
    upstreams.push(images.image("one line"), "registry-1.docker.io/library/hello-world:latest")
    before = machine.listing()
    script: Answer = entrepot.local("/setup")
    (line,) = (line for line in entrepot.log.splitlines() if " listening " in line)
    fingerprint = line.rpartition("ca_sha256=")[2].split()[0]

    done = machine.pipe(script.body.decode(), "--fingerprint", fingerprint)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "Found: docker\n" in done.stdout
    assert "docker: the daemon asked for hello-world:latest, and was answered" in done.stdout
    assert f"It came to the cache at 127.0.0.1:{entrepot.port}, which counted it." in done.stdout
    assert daemons.told().count("restart docker") == 2

    docker = ("docker", "--host=unix:///run/docker.sock")
    pulled = machine.inside(*docker, "pull", "hello-world:latest")
    assert pulled.returncode == 0, pulled.stderr
    assert entrepot.counter("blob_stored") > 0

    again = machine.pipe(script.body.decode())
    assert again.returncode == 0, again.stdout + again.stderr
    assert daemons.told().count("restart docker") == 2

    gone = machine.pipe(script.body.decode(), "--uninstall")
    assert gone.returncode == 0, gone.stderr
    assert machine.listing() == before

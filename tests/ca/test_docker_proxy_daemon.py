"""`scripts/docker-proxy.sh check --image` asks a real dockerd, on a machine of the test's own."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.images import ImageFactory
from rig.needs import need
from rig.process import Daemon, clean_environment, program
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from ca.conftest import Machine

pytestmark = pytest.mark.e2e

SCRIPT = Path(__file__).parents[2] / "scripts" / "docker-proxy.sh"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
FOLDER = "/etc/systemd/system/docker.service.d"
LOCAL = "localhost,127.0.0.0/8,::1"
CAME = "  It came to the cache at "


@pytest.fixture
def image(upstreams: Upstreams, images: ImageFactory) -> str:
    """The name, as people write it, of an image at Docker Hub."""
    upstreams.push(images.image("check"), "registry-1.docker.io/library/check:1")
    return "check:1"


@pytest.fixture
def installed(machine: "Machine", entrepot: Entrepot, upstreams: Upstreams) -> "Machine":
    """A machine with the setting and, an hour ago, the rig's and the proxy's certificates."""
    need("dockerd", "containerd", "docker")
    shutil.rmtree(machine.at(FOLDER), ignore_errors=True)
    shutil.rmtree(machine.at("/etc/docker"), ignore_errors=True)
    machine.offer("curl", "docker")
    machine.run(SCRIPT, "install", entrepot.url)
    roots = machine.at(BUNDLE).read_bytes() + upstreams.authority.pem.read_bytes()
    machine.write(BUNDLE, roots + entrepot.ca_pem)
    age(machine, hours=1)
    return machine


def age(machine: "Machine", *, hours: float) -> None:
    when = time.time() - hours * 3600
    os.utime(machine.at(BUNDLE), (when, when))


@contextmanager
def dockerd(machine: "Machine", folder: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """Run dockerd on the machine, at its usual socket, with these variables."""
    socket = machine.at("/run/docker.sock")
    daemon = Daemon(
        "dockerd",
        [
            *("nsenter", f"--target={machine.pid}", "--mount", program("dockerd")),
            *(f"--data-root={folder / 'data'}", "--exec-root=/run/docker"),
            *("--pidfile=/run/docker.pid", "--host=unix:///run/docker.sock"),
            *("--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false"),
            *("--ip-forward=false", "--ip-masq=false", "--userland-proxy=false"),
        ],
        log=folder / "dockerd.log",
        env=clean_environment(folder, **variables),
        ready=lambda: (
            socket.is_socket()
            and machine.inside("docker", "version", "--format={{.Server.Version}}").returncode == 0
        ),
    )
    daemon.start()
    try:
        yield
    finally:
        daemon.kill9()


def variables(proxy: Entrepot, exceptions: str = LOCAL) -> dict[str, str]:
    """What the daemon has that was started after an install."""
    return {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url, "NO_PROXY": exceptions}


def test_the_daemon_asks_through_the_cache(
    installed: "Machine", entrepot: Entrepot, folder: Path, image: str
) -> None:
    """It is asked for a manifest; no layer is pulled; the proxy's own count is the proof."""
    with dockerd(installed, folder, variables(entrepot)):
        checked = installed.run(SCRIPT, "check", "--image", image)
        missing = installed.run(SCRIPT, "check", "--image", "check:2")
        age(installed, hours=-1)
        early = installed.run(SCRIPT, "check", "--image", image)
    assert f"docker: the daemon asked for {image}, and was answered" in checked.stdout
    assert f"{CAME}127.0.0.1:{entrepot.port}" in checked.stdout
    assert (checked.returncode, checked.stderr) == (0, "")
    assert entrepot.counter("blob_misses") == 0
    assert "docker: the daemon asked for check:2, and was refused: " in missing.stdout
    assert CAME in missing.stdout
    # Its word counts more than the dates of files.
    assert "was started before the proxy's certificate came" in early.stdout
    assert early.returncode == 0


def test_a_daemon_that_does_not_trust(
    installed: "Machine", entrepot: Entrepot, folder: Path, image: str
) -> None:
    """It says so itself; and it does not trust it later, when files and dates look well."""
    roots = installed.at(BUNDLE).read_bytes()
    installed.write(BUNDLE, roots.replace(entrepot.ca_pem, b""))
    with dockerd(installed, folder, variables(entrepot)):
        first = installed.run(SCRIPT, "check", "--image", image)
        # It read the store at that request.
        installed.write(BUNDLE, roots)
        age(installed, hours=1)
        second = installed.run(SCRIPT, "check", "--image", image)
    assert "is not in what docker trusts" in first.stdout
    assert "docker: the daemon does not trust the proxy's certificate" in first.stdout
    assert (first.returncode, second.returncode) == (1, 1)
    assert CAME not in second.stdout


def test_a_daemon_that_goes_past_the_proxy(
    installed: "Machine", entrepot: Entrepot, folder: Path, image: str
) -> None:
    """Its exceptions count as Go reads them: what the script says, dockerd does."""
    with dockerd(installed, folder, variables(entrepot, "localhost,*.docker.io:443")):
        checked = installed.run(SCRIPT, "check", "--image", image)
    assert checked.returncode == 1
    assert (
        "registry-1.docker.io bypasses the cache: NO_PROXY has '*.docker.io:443'" in checked.stdout
    )
    assert CAME not in checked.stdout
    assert entrepot.counter("manifest_misses") == 0

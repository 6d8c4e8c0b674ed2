"""The image of deploy/Dockerfile, and deploy/compose.yaml: built and run by a real dockerd."""

import http.client
import json
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from entrepot.config.settings import Config
from rig.client import Client
from rig.clients import Dockerd
from rig.command import Program, check
from rig.images import ImageFactory
from rig.needs import need
from rig.ports import free_port
from rig.process import answers, clean_environment, eventually, program
from rig.upstreams import Upstreams

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose.yaml"
MANIFESTS = ROOT / "deploy/kubernetes"
USER = "10001:10001"
MOST_BYTES = 120 * 1000**2
"""What the image adds to its base."""


class Container:
    """A container of the image, in the network of this machine."""

    def __init__(self, daemon: Dockerd, name: str) -> None:
        self._cli = daemon.cli
        self.name = name

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            check(self._cli.run("inspect", "--format={{json .State}}", self.name))
        )
        return found

    def health(self) -> str:
        return str(self.state()["Health"]["Status"])

    def run(self, *words: str) -> str:
        """Run a command in it; what it prints."""
        return check(self._cli.run("exec", self.name, *words))

    def await_healthy(self) -> None:
        eventually(lambda: self.health() != "starting", within=90, what="looked at")
        assert self.health() == "healthy", self.state()

    def stop(self) -> int:
        """Stop it in order; its exit code."""
        check(self._cli.run("stop", "--time=30", self.name))
        return int(self.state()["ExitCode"])


@pytest.fixture
def trusted(upstreams: Upstreams, folder: Path) -> Path:
    """A folder for the container, with the authority of the upstreams."""
    trusted = folder / "trusted"
    trusted.mkdir(mode=0o755)
    (trusted / "upstream.pem").write_bytes(upstreams.authority.pem.read_bytes())
    (trusted / "upstream.pem").chmod(0o644)
    return trusted


@pytest.fixture
def upstream_words(upstreams: Upstreams) -> list[str]:
    """The options that lead the proxy to the upstreams."""
    resolve = [f"--resolve={one}" for one in upstreams.resolve]
    return ["--upstream-ca=/trusted/upstream.pem", *resolve]


@pytest.fixture
def container(daemon: Dockerd, trusted: Path, upstream_words: list[str]) -> Iterator[Container]:
    """As confined as compose.yaml has it, on the port that its health check asks."""
    if answers(3128, "/livez"):
        pytest.skip("something else listens on port 3128 here")
    name = "proxy"
    confined = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    check(
        daemon.cli.run(
            *("run", "--detach", f"--name={name}", "--network=host", *confined),
            "--health-interval=1s",
            f"--volume={trusted}:/trusted:ro",
            *("entrepot", "serve", "--listen=127.0.0.1:3128", *upstream_words),
        )
    )
    yield Container(daemon, name)
    daemon.cli.run("rm", "--force", "--volumes", name)


def test_the_image_is_small_and_has_no_cache(daemon: Dockerd) -> None:
    """What it adds to its base is the program: no pip, no sources, nothing that was downloaded."""
    form = "--format={{.Size}}"
    base, ours = (
        int(check(daemon.cli.run("image", "inspect", form, name)))
        for name in ("entrepot-test-base", "entrepot")
    )
    assert ours - base < MOST_BYTES
    words = ("run", "--rm", "--network=none", "--entrypoint=sh", "entrepot", "-c")
    listed = check(
        daemon.cli.run(*words, "ls -d /src /root/.cache /opt/entrepot/bin/pip 2>&1; true")
    )
    assert listed.count("cannot access") == 3


def test_it_says_its_version(daemon: Dockerd) -> None:
    """The command of the image is `entrepot`."""
    said = check(daemon.cli.run("run", "--rm", "--network=none", "entrepot", "--version"))
    assert re.fullmatch(r"entrepot \S+\n", said)


def test_a_container_is_healthy_pulls_and_ends_in_order(
    container: Container, upstreams: Upstreams, images: ImageFactory
) -> None:
    """With a root that cannot be written, no capability, and a user of its own."""
    container.await_healthy()
    assert container.run("id", "--user").strip() == USER.partition(":")[0]
    assert "Read-only file system" in container.run("sh", "-c", "touch /x 2>&1 || true")
    image = images.image("container")
    upstreams.push(image, "hub.example.test/app:1")
    client = Client(3128, _trusting_proxy())
    base, blob = "https://hub.example.test/v2/app", image.layers[0]
    assert client.manifest(f"{base}/manifests/1").digest == image.digest
    statuses = []
    for _ in range(2):
        answer = client.get(f"{base}/blobs/{blob.digest}")
        assert answer.body == blob.read()
        statuses.append(answer.cache_status)
        client.await_stored()
    assert statuses[1] == "entrepot; hit"
    assert "hub.example.test/app:1" in container.run("entrepot", "ls")
    assert container.stop() == 0


def test_it_runs_as_kubernetes_runs_it(daemon: Dockerd, folder: Path) -> None:
    """With the manifest's user and arguments, and a volume as the kubelet makes one by fsGroup."""
    if answers(3128, "/livez"):
        pytest.skip("something else listens on port 3128 here")
    spec = YAML(typ="safe").load((MANIFESTS / "statefulset.yaml").read_text())["spec"]
    pod = spec["template"]["spec"]
    (described,) = pod["containers"]
    volume = folder / "volume"
    volume.mkdir()
    os.chown(volume, 0, pod["securityContext"]["fsGroup"])
    volume.chmod(0o2775)
    env = [f"--env={one['name']}={one['value']}" for one in described["env"]]
    mounts = {one["name"]: one["mountPath"] for one in described["volumeMounts"]}
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    name = "in-kubernetes"
    try:
        check(
            daemon.cli.run(
                *("run", "--detach", f"--name={name}", "--network=host", "--read-only"),
                *("--cap-drop=ALL", f"--user={user}", f"--tmpfs={mounts['tmp']}"),
                *(f"--volume={volume}:{mounts['data']}", *env, described["image"]),
                *(*described["args"], "--listen=127.0.0.1:3128"),
            )
        )
        for kind in ("startup", "liveness", "readiness"):
            path = described[f"{kind}Probe"]["httpGet"]["path"]
            eventually(partial(answers, 3128, path), what=path)
        monitor = YAML(typ="safe").load((MANIFESTS / "podmonitor.yaml").read_text())
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            assert answers(3128, endpoint["path"])
        assert Container(daemon, name).stop() == 0
    finally:
        daemon.cli.run("rm", "--force", name)


def _trusting_proxy() -> ssl.SSLContext:
    """What a client trusts: the certificate that the proxy gives."""
    with closing(http.client.HTTPConnection("127.0.0.1", 3128, timeout=20)) as connection:
        connection.request("GET", "/ca.pem")
        pem = connection.getresponse().read().decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem)
    return context


def _compose(folder: Path, daemon: Dockerd, file: Path) -> Program:
    env = clean_environment(folder, DOCKER_HOST=daemon.cli.environment["DOCKER_HOST"])
    words = [program("docker-compose"), "--file", str(file), "--project-name", "rig"]
    return Program(folder / "compose", words, env)


def test_compose_reads_its_file(daemon: Dockerd, folder: Path) -> None:
    """It is as composed as docs/deployment.md says, and a stop is waited for."""
    need("docker-compose")
    read = YAML(typ="safe").load(check(_compose(folder, daemon, COMPOSE).run("config")))
    service = read["services"]["entrepot"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["ports"][0]["target"] == Config(data=folder).listen.port
    assert int(service["stop_grace_period"].rstrip("s")) >= Config(data=folder).drain + 5


def test_compose_starts_it_healthy(daemon: Dockerd, folder: Path) -> None:
    """In the network of this machine, since the rig's daemon has no bridge to publish a port of."""
    need("docker-compose")
    if answers(3128, "/livez"):
        pytest.skip("something else listens on port 3128 here")
    project = YAML(typ="safe").load(COMPOSE.read_text())
    service = project["services"]["entrepot"]
    del service["ports"], service["build"]
    service |= {"network_mode": "host", "container_name": "composed"}
    service["healthcheck"] = {"interval": "1s"}
    service["command"] += ["--listen", "127.0.0.1:3128", "--mirror", f"127.0.0.1:{free_port()}"]
    file = folder / "compose.yaml"
    with file.open("w") as opened:
        YAML(typ="safe").dump(project, opened)
    compose = _compose(folder, daemon, file)
    try:
        check(compose.run("up", "--detach", "--no-build"))
        container = Container(daemon, "composed")
        container.await_healthy()
        assert container.run("id", "--user").strip() == USER.partition(":")[0]
        assert container.stop() == 0
    finally:
        compose.run("down", "--volumes")

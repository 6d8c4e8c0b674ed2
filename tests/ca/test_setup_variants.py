"""`GET /setup/...`: what each says is valid where it goes to, and does what it says."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ansible
import jsonschema
import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from ca.test_containerd_mirror import SCRIPT as CONTAINERD_MIRROR
from ca.test_setup import PODMAN, Client, dropin, script_of, small_store
from rig.images import ImageFactory
from rig.needs import need
from rig.ports import free_port
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from ca.conftest import Machine
    from conftest import StartEntrepot

CLIENTS = Path(__file__).parents[2] / ".clients"
CERTS = "/etc/entrepot/certs"
WITH_DASH = pytest.mark.parametrize("machine", ["dash"], indirect=True)
"""The shells are compared in test_setup.py."""
HUB_IMAGE = "registry-1.docker.io/library/hello-world:latest"
DOCKERD = (
    *("--exec-root=/run/docker", "--pidfile=/run/docker.pid", "--host=unix:///run/docker.sock"),
    *("--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false"),
    *("--ip-forward=false", "--ip-masq=false", "--userland-proxy=false"),
)


@pytest.fixture
def cache(start_entrepot: "StartEntrepot") -> Entrepot:
    """A proxy with a mirror of all registries."""
    return start_entrepot(mirror=[f"127.0.0.1:{free_port()}"])


def text_of(cache: Entrepot, name: str) -> str:
    answer = cache.local(f"/setup/{name}")
    assert answer.status == 200, answer.body
    return answer.body.decode()


def documents(text: str) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(text))


@pytest.fixture
def client(machine: "Machine", cache: Entrepot) -> Iterator[Client]:
    """A machine with a small trust store, and nothing that runs."""
    daemons = small_store(machine)
    yield Client(machine, cache, daemons, script_of(cache))
    daemons.stop()


def test_cloud_init_takes_it(cache: Entrepot) -> None:
    """Its own schema has no complaint."""
    schema = next(CLIENTS.glob("*/usr/**/schema-cloud-config-v1.json"), None)
    if schema is None:
        pytest.skip("no schema of cloud-init: scripts/newer-clients")
    text = text_of(cache, "cloud-init")
    assert text.startswith("#cloud-config\n")
    checker = jsonschema.Draft4Validator(json.loads(schema.read_text()))
    assert [error.message for error in checker.iter_errors(documents(text)[0])] == []


@WITH_DASH
def test_cloud_init_writes_what_the_script_writes(client: Client) -> None:
    """File by file; so either may undo what the other did."""
    (config,) = documents(text_of(client.entrepot, "cloud-init"))
    assert client.install("--for", "docker,containerd,k3s,podman").returncode == 0
    for file in config["write_files"]:
        if "k3s-agent" not in file["path"]:
            assert client.machine.at(file["path"]).read_text() == file["content"], file["path"]
            assert file["permissions"] == "0644"
    paths = {file["path"] for file in config["write_files"]}
    assert {dropin("docker"), dropin("containerd"), dropin("k3s"), PODMAN} <= paths
    assert config["ca_certs"]["trusted"] == [client.entrepot.ca_pem.decode()]


@WITH_DASH
def test_ansible_runs_it(client: Client, tmp_path: Path) -> None:
    """Checked, run, run again with nothing to change, and undone, by a real ansible-playbook."""
    before = client.machine.listing()
    playbook = tmp_path / "entrepot.yaml"
    playbook.write_text(text_of(client.entrepot, "ansible"))
    path = f"{client.machine.bin}:/usr/sbin:/usr/bin:/sbin:/bin"
    client.machine.variables |= {
        "HOME": str(tmp_path),
        "ANSIBLE_LOCAL_TEMP": f"{tmp_path}/local",
        "ANSIBLE_REMOTE_TEMP": f"{tmp_path}/remote",
        "PYTHONPATH": str(Path(ansible.__file__).parents[1]),
    }

    def run(*options: str) -> str:
        command = (sys.executable, "-m", "ansible.cli.playbook", "-i", "localhost,", "-c", "local")
        python = f"ansible_python_interpreter={sys.executable}"
        variables = ("-e", "ansible_become=false", "-e", python)
        words = (*command, *variables, *options, str(playbook))
        done = client.machine.inside(*words, path=path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    only = ("-e", "entrepot_options='--for containerd'")
    assert "changed=1" in run("--check", *only)
    assert client.machine.listing() == before
    assert "changed=1" in run(*only)
    assert client.daemons.environment("containerd")["HTTPS_PROXY"] == client.entrepot.url
    assert "changed=0" in run(*only)
    assert "changed=1" in run("-e", "entrepot_options=--uninstall")
    assert client.machine.listing() == before


def test_kubernetes_takes_it(cache: Entrepot) -> None:
    """Each object is valid, and the hosts.toml is the one that containerd-mirror.sh writes."""
    objects = documents(text_of(cache, "kubernetes"))
    for one in objects:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    assert [one["kind"] for one in objects] == ["Namespace", "ConfigMap", "DaemonSet"]
    host = tomllib.loads(objects[1]["data"]["hosts.toml"])["host"]
    assert list(host.values()) == [{"capabilities": ["pull", "resolve"]}]
    (mirror,) = host
    assert mirror.startswith("http://127.0.0.1:")


@WITH_DASH
def test_the_daemon_set_writes_a_nodes_file_and_takes_it_away(
    client: Client, tmp_path: Path
) -> None:
    """By busybox, as its container has it; a file of somebody else's stays."""
    if shutil.which("busybox") is None:
        pytest.skip("no busybox: apt-get install busybox")
    (_, config, _) = documents(text_of(client.entrepot, "kubernetes"))
    node, given = tmp_path / "host", tmp_path / "entrepot"
    given.mkdir()
    (node / "certs.d").mkdir(parents=True)
    (node / "config.toml").write_text('  config_path = "/etc/containerd/certs.d"\n')
    ready = tmp_path / "tmp" / "ready"
    ready.parent.mkdir()
    for name, content in config["data"].items():
        moved = content
        for path in ("/host/", "/entrepot/", "/tmp/ready"):  # noqa: S108 the container's
            moved = (
                moved.replace(f"{path}", f"{tmp_path}{path}") if name == "configure.sh" else moved
            )
        (given / name).write_text(moved)
    file = node / "certs.d" / "_default" / "hosts.toml"
    command = ["busybox", "sh", str(given / "configure.sh")]

    with subprocess.Popen(command, process_group=0) as pod:
        eventually(ready.exists, what="the pod is ready")
        mirror = next(iter(tomllib.loads(file.read_text())["host"]))
        told = client.machine.run(CONTAINERD_MIRROR, "install", mirror)
        written = client.machine.at("/etc/containerd/certs.d/_default/hosts.toml")
        assert written.read_text() == file.read_text(), told.stderr
        assert (file.parent / "entrepot.crt").read_bytes() == client.entrepot.ca_pem
        os.killpg(pod.pid, signal.SIGTERM)
        assert pod.wait(20) == 0
    assert list((node / "certs.d").iterdir()) == []

    file.parent.mkdir()
    file.write_text("# mine\n")
    ready.unlink()
    with subprocess.Popen(command, process_group=0, stdout=subprocess.PIPE, text=True) as pod:
        assert pod.stdout is not None
        assert "has a file of its own" in pod.stdout.readline()
        os.killpg(pod.pid, signal.SIGTERM)
        assert pod.wait(20) == 0
    assert (file.read_text(), ready.exists()) == ("# mine\n", False)


def gitlab(cache: Entrepot) -> list[str]:
    """The environment of GitLab's jobs and services, one of which is docker-in-docker."""
    (runner,) = tomllib.loads(text_of(cache, "gitlab-runner"))["runners"]
    assert f"{CERTS}:{CERTS}:ro" in runner["docker"]["volumes"]
    return list(runner["environment"])


def github(cache: Entrepot) -> list[str]:
    """The environment of docker-in-docker beside GitHub's runner."""
    (values,) = documents(text_of(cache, "github-runner"))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "runner"}}
    pod |= {"spec": values["template"]["spec"]}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    (certificate,) = (c for c in pod["spec"]["initContainers"] if c["name"] == "init-entrepot")  # type: ignore[index]
    assert certificate["env"][0]["value"] == cache.ca_pem.decode()
    (dind,) = (c for c in pod["spec"]["initContainers"] if c["name"] == "dind")  # type: ignore[index]
    assert {"name": "entrepot", "mountPath": CERTS, "readOnly": True} in dind["volumeMounts"]
    return [f"{one['name']}={one['value']}" for one in dind["env"]]


class Docker:
    """A dockerd on the machine, with no more than some variables; and `docker` with buildx."""

    def __init__(self, client: Client, folder: Path) -> None:
        need("dockerd", "containerd", "docker")
        self._client, self._folder = client, folder
        client.machine.offer("docker")
        client.machine.variables |= {
            "DOCKER_HOST": "unix:///run/docker.sock",
            "HOME": str(folder),
            "DOCKER_BUILDKIT": "1",
        }
        command = " ".join(("dockerd", f"--data-root={folder}/data", *DOCKERD))
        client.daemons.add("docker", command, "docker --host=unix:///run/docker.sock version")

    def start(self, *variables: str) -> None:
        """Start it, or start it anew."""
        lines = ["[Service]", *(f'Environment="{variable}"' for variable in variables)]
        dropin_of_job = "/etc/systemd/system/docker.service.d/job.conf"
        self._client.machine.write(dropin_of_job, "\n".join(lines))
        self._client.daemons.restart("docker")

    def add_buildx(self) -> None:
        """Give `docker` its plugin, which a later Debian has."""
        plugin = next(CLIENTS.glob("*/usr/libexec/docker/cli-plugins/docker-buildx"), None)
        if plugin is None:
            pytest.skip("no docker-buildx: scripts/newer-clients")
        plugins = self._folder / ".docker" / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-buildx").symlink_to(plugin)

    def run(self, *words: str, stdin: str | None = None) -> str:
        done = self._client.machine.inside("docker", *words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.mark.e2e
@pytest.mark.parametrize("runner", [gitlab, github])
@WITH_DASH
def test_docker_in_docker_pulls_by_it(
    client: Client, upstreams: Upstreams, images: ImageFactory, folder: Path, runner: Any
) -> None:
    """A dockerd with no more than the variables and the folder, as in a job."""
    upstreams.push(images.image("dind"), HUB_IMAGE)
    docker = Docker(client, folder)
    client.machine.write(f"{CERTS}/entrepot.crt", client.entrepot.ca_pem)
    docker.start(*runner(client.entrepot))
    docker.run("pull", "hello-world:latest")
    assert client.entrepot.counter("blob_stored") > 0


def command_in(text: str) -> list[str]:
    """The command `docker buildx create` in the comments of buildkitd.toml."""
    _, _, after = text.partition("docker buildx create ")
    lines = []
    for line in after.splitlines():
        lines.append(line.removeprefix("#").strip().removesuffix("\\"))
        if not line.endswith("\\"):
            break
    return shlex.split(" ".join(lines))


@pytest.mark.e2e
@WITH_DASH
def test_a_builder_of_buildx_pulls_by_it(
    client: Client, upstreams: Upstreams, images: ImageFactory, folder: Path, tmp_path: Path
) -> None:
    """What its container gets is enough for a BuildKit, dockerd's own, to use the cache."""
    upstreams.push(images.image("base"), "registry-1.docker.io/library/base:1")
    machine, docker = client.machine, Docker(client, folder)
    docker.add_buildx()
    docker.start()
    machine.write(f"{CERTS}/entrepot.crt", client.entrepot.ca_pem)
    settings = tmp_path / "buildkitd.toml"
    settings.write_text(text_of(client.entrepot, "buildkitd.toml"))
    words = [
        str(settings) if word == settings.name else word
        for word in command_in(settings.read_text())
    ]
    docker.run("import", "-", "none/buildkit:1", stdin="")
    # The image is empty, so that the container is made, but does not start.
    made = machine.inside(
        "docker", "buildx", "create", *words, "--driver-opt", "image=none/buildkit:1"
    )
    builder = "buildx_buildkit_entrepot0"
    variables = json.loads(docker.run("inspect", "--format={{json .Config.Env}}", builder))
    file = "/etc/buildkit/certs/docker.io/entrepot.crt"
    docker.run("cp", f"{builder}:{file}", str(tmp_path / "copied.crt"))
    assert (tmp_path / "copied.crt").read_bytes() == client.entrepot.ca_pem, made.stderr

    machine.write(file, (tmp_path / "copied.crt").read_bytes())
    docker.start(*(one for one in variables if not one.startswith(("PATH=", "HOME="))))
    # `docker` fetches the tokens for BuildKit; here it finds no token server but by the proxy.
    machine.variables |= {"SSL_CERT_DIR": CERTS, "HTTPS_PROXY": client.entrepot.url}
    docker.run("buildx", "use", "default")
    docker.run("build", "-", stdin="FROM base:1\nLABEL a=b\n")
    assert client.entrepot.counter("manifest_misses") > 0
    assert client.entrepot.counter("blob_misses") > 0


def test_docker_desktop_says_what_to_type(cache: Entrepot) -> None:
    """The commands for macOS are a shell's, and the proxy is this one."""
    text = text_of(cache, "docker-desktop")
    lines = [line for line in text.splitlines() if line.startswith("  ") and "entrepot.crt" in line]
    shell = [line for line in lines if line.split()[0] in {"curl", "openssl", "sudo"}]
    assert len(shell) == 3
    for line in shell:
        subprocess.run(["sh", "-n", "-c", line], check=True)
    assert text.count(cache.url) >= 5

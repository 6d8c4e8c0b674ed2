"""`GET /setup`, piped into a shell on machines of the tests' own, with a real proxy."""

import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

import pytest

from ca.conftest import EngineSocket, machine_at
from ca.machine_daemons import Daemons
from rig.client import Answer
from rig.images import ImageFactory
from rig.ports import free_port
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from ca.conftest import Answering, Machine

STORE = "/usr/local/share/ca-certificates"
ANCHOR = f"{STORE}/entrepot.crt"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
LOCAL = "localhost,127.0.0.0/8,::1"
PODMAN = "/etc/containers/containers.conf.d/zz-entrepot.conf"


def dropin(unit: str) -> str:
    return f"/etc/systemd/system/{unit}.service.d/zz-entrepot.conf"


def script_of(entrepot: Entrepot) -> str:
    """The script as the proxy serves it."""
    answer: Answer = entrepot.local("/setup")
    assert answer.status == 200
    return answer.body.decode()


class Client:
    """A machine with engines, and the line that sets it up."""

    def __init__(
        self, machine: "Machine", entrepot: Entrepot, daemons: Daemons, script: str
    ) -> None:
        self.machine = machine
        self.entrepot = entrepot
        self.daemons = daemons
        self.script = script

    @property
    def fingerprint(self) -> str:
        (line,) = (line for line in self.entrepot.log.splitlines() if " listening " in line)
        return line.rpartition("ca_sha256=")[2].split()[0]

    def setup(self, *options: str) -> CompletedProcess[str]:
        return self.machine.pipe(self.script, *options)

    def install(self, *options: str) -> CompletedProcess[str]:
        return self.setup("--fingerprint", self.fingerprint, *options)


def small_store(machine: "Machine") -> Daemons:
    """Give a machine a trust store with one certificate, and containerd as a service that runs."""
    machine.offer("curl")
    for folder in (STORE, "/etc/entrepot", "/etc/docker", "/etc/containers"):
        shutil.rmtree(machine.at(folder), ignore_errors=True)
    machine.write(f"{STORE}/company.crt", "company\n")
    machine.program("update-ca-certificates", f"/bin/cat {STORE}/*.crt >{BUNDLE}")
    machine.inside("update-ca-certificates")
    daemons = Daemons(machine)
    daemons.add("containerd")
    daemons.restart("containerd")
    return daemons


@pytest.fixture
def client(machine: "Machine", entrepot: Entrepot) -> Iterator[Client]:
    """A machine with containerd as a service, and Debian's store in small."""
    daemons = small_store(machine)
    yield Client(machine, entrepot, daemons, script_of(entrepot))
    daemons.stop()


def test_a_client_is_set_up_proven_and_left_as_it_was(client: Client) -> None:
    """It trusts, has the proxy, was restarted once, and is proven; later nothing of it is left."""
    before = client.machine.listing()
    done = client.install()
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert client.daemons.environment("containerd")["HTTPS_PROXY"] == client.entrepot.url
    assert client.daemons.environment("containerd")["NO_PROXY"] == LOCAL
    assert client.machine.at(ANCHOR).read_bytes() == client.entrepot.ca_pem
    assert client.entrepot.ca_pem in client.machine.at(BUNDLE).read_bytes()
    assert "through the proxy: the cache answers, its certificate is trusted" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("All is well: ")
    assert client.daemons.told().count("restart containerd") == 2

    checked = client.setup("--check")
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout

    settled = client.machine.listing()
    again = client.setup()  # the certificate is the one that is installed
    assert (again.returncode, client.machine.listing()) == (0, settled), again.stdout
    assert "Nothing had to be written." in again.stdout
    assert client.daemons.told().count("restart containerd") == 2

    gone = client.setup("--uninstall")
    assert gone.returncode == 0, gone.stderr
    assert client.machine.listing() == before
    assert "systemctl restart containerd" in gone.stdout
    assert "Nothing to remove." in client.setup("--uninstall").stdout


def test_what_it_would_do_is_said_and_not_done(client: Client) -> None:
    """--dry-run shows each file with its content, also without a fingerprint, and writes none."""
    before = client.machine.listing()
    shown = client.setup("--dry-run")
    assert (shown.returncode, client.machine.listing()) == (0, before), shown.stderr
    assert client.daemons.told() == ["restart containerd"]
    for text in (ANCHOR, dropin("containerd"), f"HTTPS_PROXY={client.entrepot.url}"):
        assert text in shown.stdout
    assert client.fingerprint in shown.stdout
    assert client.setup("--check").returncode == 1


@pytest.mark.parametrize("option", [(), ("--fingerprint", ":".join(["AB"] * 32))])
def test_a_certificate_that_nobody_vouches_for(client: Client, option: tuple[str, ...]) -> None:
    """Without a fingerprint, or with another, nothing is done; it is said why, and what to do."""
    before = client.machine.listing()
    refused = client.setup(*option)
    assert (refused.returncode, client.machine.listing()) == (1, before)
    told = refused.stdout + refused.stderr
    assert "can pretend to be\nany website" in told or "can pretend to be any website" in told
    assert client.fingerprint in told
    assert "entrepot" in told
    assert "Nothing was done." in refused.stderr


def test_trust_on_first_use_is_for_the_first_use(client: Client, tmp_path: Path) -> None:
    """With another certificate than the installed one it goes on only by its fingerprint."""
    done = client.setup("--trust-on-first-use")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT VERIFIED" in done.stdout
    older = tmp_path / "older.pem"
    older.write_bytes(client.machine.at(ANCHOR).read_bytes())
    other = OTHER_ROOT.encode()
    for path in (ANCHOR, "/etc/entrepot/certs/entrepot.crt"):
        client.machine.write(path, other)
    before = client.machine.listing()
    refused = client.setup("--trust-on-first-use")
    assert (refused.returncode, client.machine.listing()) == (1, before)
    assert "is installed here" in refused.stderr
    done = client.install()
    assert done.returncode == 0, done.stderr
    assert "It takes the place of:" in done.stdout
    assert client.machine.at(ANCHOR).read_bytes() == older.read_bytes()


OTHER_ROOT = "-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n"


def test_a_proxy_that_is_away(client: Client) -> None:
    """Nothing is done where nobody answers, or somebody else does."""
    before = client.machine.listing()
    away = client.install("--proxy", f"127.0.0.1:{free_port()}")
    assert (away.returncode, client.machine.listing()) == (1, before)
    assert "does not answer: is the proxy running" in away.stderr
    client.entrepot.terminate()
    gone = client.setup("--fingerprint", "ab" * 32)
    assert (gone.returncode, client.machine.listing()) == (1, before)


def test_somebody_else_answers(client: Client, answering: "Answering") -> None:
    """A server that has a certificate, and is no proxy, changes nothing either."""
    before = client.machine.listing()
    for body in (client.entrepot.ca_pem, b"<html>", b""):
        with answering({"/ca.pem": body}) as address:
            refused = client.install("--proxy", address)
        assert (refused.returncode, client.machine.listing()) == (1, before)
        assert "Nothing was done." in refused.stderr


def test_the_exceptions_stay(client: Client) -> None:
    """NO_PROXY is what the service had, what is asked for, and the machine itself."""
    client.machine.write(
        "/etc/systemd/system/containerd.service.d/http-proxy.conf",
        '[Service]\nEnvironment="NO_PROXY=.corp.example,10.0.0.0/8"\n',
    )
    before = client.machine.listing()
    assert client.install("--no-proxy", "registry.lan").returncode == 0
    expected = f"{LOCAL},registry.lan,.corp.example,10.0.0.0/8"
    assert client.daemons.environment("containerd")["NO_PROXY"] == expected
    restarts = client.daemons.told()
    assert "Nothing had to be written." in client.install().stdout
    assert client.daemons.told().count("restart containerd") == restarts.count("restart containerd")
    assert client.install("--no-proxy", "other.lan").returncode == 0
    assert client.daemons.environment("containerd")["NO_PROXY"] == (
        f"{LOCAL},other.lan,.corp.example,10.0.0.0/8"
    )
    client.setup("--uninstall")
    assert client.machine.listing() == before


def test_k3s_hands_it_to_its_containerd_alone(client: Client) -> None:
    """The variables that k3s takes for containerd, with the cluster's own addresses left out."""
    client.daemons.add("k3s")
    client.daemons.restart("k3s")
    done = client.install("--for", "k3s")
    assert done.returncode == 0, done.stdout + done.stderr
    has = client.daemons.environment("k3s")
    assert has["CONTAINERD_HTTPS_PROXY"] == client.entrepot.url
    assert has["CONTAINERD_NO_PROXY"] == f"{LOCAL},.svc,.cluster.local,10.42.0.0/16,10.43.0.0/16"
    assert "HTTPS_PROXY" not in has
    assert not client.machine.at(dropin("containerd")).exists()


def test_it_restarts_nothing_where_it_is_told_so(client: Client) -> None:
    """--no-restart writes, says what to restart, and the next run does the rest."""
    done = client.install("--no-restart")
    assert done.returncode == 0, done.stderr
    assert "systemctl restart containerd" in done.stdout.splitlines()[-1]
    assert "HTTPS_PROXY" not in client.daemons.environment("containerd")
    done = client.install()
    assert client.daemons.environment("containerd")["HTTPS_PROXY"] == client.entrepot.url
    assert "All is well" in done.stdout


def test_a_file_of_somebody_elses_comes_back(client: Client) -> None:
    """Where a file of our name is not ours, it is kept and put back."""
    client.machine.write(dropin("containerd"), "[Service]\nEnvironment=NO_PROXY=mine.example\n")
    before = client.machine.listing()
    assert client.install().returncode == 0
    has = client.daemons.environment("containerd")
    assert (has["HTTPS_PROXY"], has["NO_PROXY"]) == (client.entrepot.url, f"{LOCAL},mine.example")
    client.setup("--uninstall")
    assert client.machine.listing() == before


def test_by_wget(client: Client) -> None:
    """GNU's does all of it without curl; busybox's cannot ask through a proxy, and it is said."""
    (client.machine.bin / "curl").unlink()
    client.machine.offer_wget()
    done = client.install()
    assert done.returncode == 0, done.stdout + done.stderr
    if client.machine.shell == "busybox":
        assert "for want of curl or GNU's wget" in done.stdout
    else:
        assert "through the proxy: the cache answers, its certificate is trusted" in done.stdout
    (client.machine.bin / "wget").unlink()
    before = client.machine.listing()
    refused = client.install()
    assert (refused.returncode, client.machine.listing()) == (1, before)
    assert "neither curl nor wget is installed" in refused.stderr


def test_a_setting_that_would_beat_it(client: Client) -> None:
    """Where a drop-in of ours would not count, nothing at all is done, not even the certificate."""
    client.machine.write(
        "/etc/systemd/system/containerd.service.d/zzz.conf",
        "[Service]\nEnvironment=HTTPS_PROXY=http://other.example\n",
    )
    before = client.machine.listing()
    refused = client.install()
    assert (refused.returncode, client.machine.listing()) == (1, before)
    assert "zzz.conf is read after" in refused.stderr


def test_a_password_is_for_root(client: Client) -> None:
    """What --proxy gives is used, and neither shown nor readable by others."""
    address = client.entrepot.url.removeprefix("http://")
    given = f"http://me:s3cret@{address}"
    shown = client.install("--proxy", given, "--dry-run")
    done = client.install("--proxy", given)
    checked = client.setup("--proxy", given, "--check")
    assert done.returncode == 0, done.stderr
    assert client.daemons.environment("containerd")["HTTPS_PROXY"] == given
    assert stat.S_IMODE(client.machine.at(dropin("containerd")).stat().st_mode) == 0o600
    assert "s3cret" not in "".join(r.stdout + r.stderr for r in (shown, done, checked))


WORDS = [
    (("--nothing",), 2, "there is no option '--nothing'"),
    (("--fingerprint",), 2, "--fingerprint wants a value"),
    (("--check", "--uninstall"), 2, "--uninstall and --check exclude each other"),
    (("--fingerprint", "xyz"), 1, "want the 64 hex digits"),
    (("--for", "lxc"), 1, "want some of: docker containerd podman"),
    (("--no-proxy", "a;b"), 1, "want hosts between commas"),
    (("--image", "$(id)"), 1, "want a name such as"),
    (("--proxy", "http://a b"), 1, "want host, host:port"),
    (("--for", "kind", "--trust-on-first-use"), 1, "no running nodes of kind"),
]


def test_words_that_mean_nothing(client: Client) -> None:
    """It says what is wrong and what there is, and does nothing."""
    before = client.machine.listing()
    for options, status, told in WORDS:
        refused = client.setup(*options)
        assert (refused.returncode, client.machine.listing()) == (status, before), options
        assert told in refused.stderr
        if status == 2:
            assert f"curl -fsS {client.entrepot.url}/setup | sudo sh -s -- " in refused.stderr


def test_no_engine(client: Client) -> None:
    """Where none is found it says what it looked for, and how to prepare a machine all the same."""
    client.machine.at("/etc/systemd/system/containerd.service").unlink()
    client.machine.at("/etc/systemd/system/containerd.service").symlink_to("/dev/null")
    before = client.machine.listing()
    refused = client.install()
    assert (refused.returncode, client.machine.listing()) == (1, before)
    assert "--for docker" in refused.stderr
    client.machine.program("docker", "exit 1")
    assert "/setup/docker-desktop" in client.install().stderr
    done = client.setup(f"--fingerprint={client.fingerprint}", "--for=docker")
    assert done.returncode == 0, done.stdout + done.stderr
    assert client.machine.at(dropin("docker")).exists()
    assert "docker does not run: it has this when it is started." in done.stdout
    assert "Nothing runs yet that would prove it" in done.stdout.splitlines()[-1]


def test_it_says_whose_containers_a_restart_would_end(client: Client) -> None:
    """Before it restarts docker, unless docker is told to let them live."""
    client.daemons.add("docker")
    client.daemons.restart("docker")
    shown = ""
    for live, told in (("false", True), ("true", False)):
        info = f'{{"ContainersRunning":3,"LiveRestoreEnabled":{live},"HttpsProxy":""}}'
        path = client.machine.at("/run/docker.sock")
        path.unlink(missing_ok=True)
        with EngineSocket(path, {"/info": info.encode()}).running():
            shown = client.setup("--dry-run", "--for", "docker").stdout
        assert ("a restart of docker ends its 3 running containers" in shown) == told
    assert "then: systemctl restart docker" in shown


def test_half_a_script_does_nothing(client: Client) -> None:
    """A script that was cut anywhere does nothing, however it was called."""
    before = client.machine.listing()
    lines = client.script.splitlines(keepends=True)
    for count in (len(lines) // 3, len(lines) // 2, len(lines) - 1):
        client.machine.pipe("".join(lines[:count]), "--fingerprint", client.fingerprint)
    client.machine.pipe(client.script[: -len('"$@" </dev/null\n')], "--trust-on-first-use")
    assert client.machine.listing() == before


def test_another_system(client: Client) -> None:
    """On macOS it says where to look."""
    (client.machine.bin / "uname").unlink()
    client.machine.program("uname", "echo Darwin")
    before = client.machine.listing()
    refused = client.install()
    assert (refused.returncode, client.machine.listing()) == (1, before)
    assert f"{client.entrepot.url}/setup/docker-desktop" in refused.stderr


def test_without_root(client: Client) -> None:
    """Who is not root is told the line to type, with their own words in it."""
    before = client.machine.listing()
    words = [
        "/usr/bin/setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        *client.machine.words,
    ]
    options = ["--fingerprint", client.fingerprint]
    refused = client.machine.inside(
        *words, "-s", "--", *options, path="/usr/bin:/bin", stdin=client.script
    )
    assert (refused.returncode, client.machine.listing()) == (1, before)
    assert f"/setup | sudo sh -s -- {' '.join(options)}" in refused.stderr
    assert "must be run as root" in refused.stderr


@pytest.mark.parametrize("machine", ["dash"], indirect=True)
def test_podman_pulls_by_it(
    client: Client, upstreams: Upstreams, images: ImageFactory, tmp_path: Path
) -> None:
    """Podman has it by its own settings, asks the cache, and hands it to no container."""
    upstreams.push(images.image("setup"), "registry-1.docker.io/library/hello-world:latest")
    client.machine.offer("podman")
    client.machine.at("/etc/containers").mkdir()
    policy = '{"default": [{"type": "insecureAcceptAnything"}]}'
    client.machine.write("/etc/containers/policy.json", policy)
    client.machine.write(
        "/etc/containers/storage.conf",
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n',
    )
    assert client.machine.inside("podman", "info").returncode == 0  # it makes folders of its own
    before = client.machine.listing()
    done = client.install("--for", "podman")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was answered by the cache at" in done.stdout
    name = "docker.io/library/hello-world:latest"
    made = client.machine.inside("podman", "create", "--name=hello", name, "/hello")
    assert made.returncode == 0, made.stderr
    told = client.machine.inside("podman", "inspect", "--format={{.Config.Env}}", "hello").stdout
    assert "PATH=" in told
    assert "proxy" not in told.lower()
    assert client.setup("--uninstall").returncode == 0
    assert client.machine.listing() == before


NODES = """
case "$1 $3" in
    "ps label=io.x-k8s.kind.cluster") echo kind-worker ;;
    "exec kind-worker") shift 3; exec %s --target=%d --mount /usr/bin/env PATH=%s "$@" ;;
esac
"""


@pytest.mark.parametrize("machine", ["dash"], indirect=True)
def test_nodes_that_are_containers_are_set_up_from_inside(client: Client, tmp_path: Path) -> None:
    """The same script runs in each node of kind, by an address that leads there to the proxy."""
    folder = tmp_path / "node"
    folder.mkdir()
    with machine_at(folder, "busybox") as node:
        (node.bin / "sh").unlink()
        (node.bin / "sh").symlink_to("/usr/bin/dash")
        inner = small_store(node)
        for one in (client.machine, node):
            one.write("/etc/hosts", "127.0.0.1 localhost cache.example.test\n")
        nsenter = (shutil.which("nsenter"), node.pid, node.bin)
        client.machine.program("docker", NODES % nsenter)
        outer = client.machine.listing()
        before = node.listing()
        address = f"cache.example.test:{client.entrepot.port}"

        near = client.install("--for", "kind")
        assert (near.returncode, node.listing()) == (1, before)
        assert "in a node 127.0.0.1 is the node itself" in near.stdout

        done = client.install("--for", "kind", "--proxy", address)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "kind-worker:\n  Found: containerd\n" in done.stdout
        assert inner.environment("containerd")["HTTPS_PROXY"] == f"http://{address}"
        assert "HTTPS_PROXY" not in client.daemons.environment("containerd")
        assert client.setup("--for", "kind", "--proxy", address, "--check").returncode == 0

        gone = client.setup("--uninstall", "--proxy", address)
        assert gone.returncode == 0, gone.stderr
        assert (client.machine.listing(), node.listing()) == (outer, before)
        inner.stop()


@pytest.mark.parametrize("machine", ["dash"], indirect=True)
def test_docker_without_root(client: Client) -> None:
    """One drop-in for the services of all users, with what the running one had as exceptions."""
    machine = client.machine
    place = machine.at("/run/user/65534")
    place.mkdir(parents=True)
    machine.inside("/bin/cp", shutil.which("sleep") or "", "/run/dockerd")
    words = ("/usr/bin/setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/env")
    inside = ("nsenter", f"--target={machine.pid}", "--mount")
    before = machine.listing()
    command = [*inside, *words, "NO_PROXY=.corp.example", "/run/dockerd", "600"]
    with (
        socket.socket(socket.AF_UNIX) as listening,
        subprocess.Popen(command) as daemon,
    ):
        listening.bind(str(place / "docker.sock"))
        eventually(lambda: comm_of(daemon.pid) == "dockerd", what="dockerd runs")
        done = client.install("--for", "docker", "--no-restart")
        daemon.kill()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The docker of nobody is to be restarted, by nobody:" in done.stdout
    text = machine.at("/etc/systemd/user/docker.service.d/zz-entrepot.conf").read_text()
    assert f'Environment="HTTPS_PROXY={client.entrepot.url}"' in text
    assert f'Environment="NO_PROXY={LOCAL},.corp.example"' in text
    assert client.setup("--uninstall").returncode == 0
    assert machine.listing() == before


def comm_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()

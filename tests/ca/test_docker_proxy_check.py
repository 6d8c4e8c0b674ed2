"""`scripts/docker-proxy.sh check` with a real proxy: it says yes only where the cache is used.

The daemon is a process with its environment; test_docker_proxy_daemon.py has a real dockerd.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ca.conftest import EngineSocket
from rig.process import clean_environment
from rig.proxy import PYTHON, Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from ca.conftest import Answering, Machine
    from conftest import StartEntrepot

SCRIPT = Path(__file__).parents[2] / "scripts" / "docker-proxy.sh"
FOLDER = "/etc/systemd/system/docker.service.d"
DROPIN = f"{FOLDER}/zz-entrepot.conf"
LOCAL = "localhost,127.0.0.0/8,::1"
ANCHOR = "/usr/local/share/ca-certificates/entrepot.crt"
NEXT = ANCHOR.replace("entrepot", "entrepot-next")
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
ANSWERS = "https://registry-1.docker.io/v2/ through the proxy: the cache answers"

Running = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def clean(machine: "Machine", upstreams: Upstreams) -> "Machine":
    """A machine that trusts the rig's registries, on which nobody has touched docker's unit."""
    shutil.rmtree(machine.at(FOLDER), ignore_errors=True)
    shutil.rmtree(machine.at("/etc/docker"), ignore_errors=True)
    machine.at("/etc/systemd/system").mkdir(parents=True, exist_ok=True)
    trust(machine, upstreams.authority.pem.read_bytes())
    machine.offer("curl")
    return machine


def trust(machine: "Machine", pem: bytes, path: str | None = None, hours: float = -1) -> None:
    """Put a certificate into the bundle and, as a file, into the store; as long ago as it says."""
    bundle = machine.at(BUNDLE)
    machine.write(BUNDLE, bundle.read_bytes() + pem)
    for name in (BUNDLE, *([path] if path else [])):
        if name == path:
            machine.write(name, pem)
        when = time.time() + hours * 3600
        os.utime(machine.at(name), (when, when))


@pytest.fixture
def running(clean: "Machine") -> Running:
    """A context in which docker runs with these variables."""

    @contextmanager
    def running(variables: Mapping[str, str]) -> Iterator[None]:
        command = ["nsenter", f"--target={clean.pid}", "--mount", "cat"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=variables) as daemon:
            clean.program("systemctl", f"echo MainPID={daemon.pid}")
            try:
                yield
            finally:
                daemon.communicate()

    return running


def variables(proxy: Entrepot, exceptions: str = LOCAL) -> dict[str, str]:
    """What the daemon has that was started after an install."""
    return {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url, "NO_PROXY": exceptions}


@pytest.fixture
def installed(clean: "Machine", entrepot: Entrepot) -> "Machine":
    """A machine with the proxy's certificate and setting, both an hour ago."""
    trust(clean, entrepot.ca_pem, ANCHOR)
    assert clean.run(SCRIPT, "install", entrepot.url).returncode == 0
    return clean


@pytest.mark.parametrize("program", ["curl", "wget"])
def test_all_is_well(
    installed: "Machine", entrepot: Entrepot, running: Running, program: str
) -> None:
    """It shows what is set, that the daemon has it, that it is trusted and that the cache answers.

    By curl or by wget, past a proxy and exceptions that are set already.
    """
    (installed.bin / "curl").unlink()
    installed.offer(program)
    installed.variables = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "docker.io"}
    with running(variables(entrepot)):
        checked = installed.run(SCRIPT, "check", entrepot.url)
    assert f"HTTPS_PROXY={entrepot.url} ({DROPIN})" in checked.stdout
    assert "docker: the running daemon has it" in checked.stdout
    assert f"{entrepot.url}/healthz: answers" in checked.stdout
    assert "The proxy's certificate is trusted" in checked.stdout
    assert ANSWERS in checked.stdout
    assert (checked.returncode, checked.stderr) == (0, "")


def test_without_a_program_that_asks_by_tls(
    installed: "Machine", entrepot: Entrepot, running: Running
) -> None:
    """Where there is busybox's wget alone, which verifies nothing, it says what was not tried."""
    (installed.bin / "curl").unlink()
    (installed.bin / "wget").symlink_to(shutil.which("busybox") or "")
    with running(variables(entrepot)):
        checked = installed.run(SCRIPT, "check")
    assert checked.returncode == 0
    assert "not tried, for want of curl or GNU's wget" in checked.stdout


@pytest.mark.parametrize(
    ("exceptions", "said"),
    [
        ("registry-1.docker.io", "registry-1.docker.io bypasses the cache"),
        (f"{LOCAL},.docker.io:443", "auth.docker.io bypasses the cache"),
        ("*", "ghcr.io bypasses the cache: NO_PROXY has '*'"),
    ],
)
def test_a_registry_is_kept_from_the_proxy(
    installed: "Machine", entrepot: Entrepot, running: Running, exceptions: str, said: str
) -> None:
    """What counts is the NO_PROXY of the running daemon, whatever the files say by now."""
    with running(variables(entrepot, exceptions)):
        checked = installed.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert said in checked.stdout
    assert "another value of NO_PROXY" in checked.stdout


def test_lower_case_counts_too(installed: "Machine", entrepot: Entrepot, running: Running) -> None:
    """Go's programs read no_proxy where NO_PROXY is not set."""
    daemon = {"https_proxy": entrepot.url, "no_proxy": "docker.io"}
    with running(daemon):
        checked = installed.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert "registry-1.docker.io bypasses the cache: NO_PROXY has 'docker.io'" in checked.stdout


def test_not_restarted(installed: "Machine", running: Running) -> None:
    """A daemon that runs without the setting is status 1, with the command to run."""
    with running({}):
        checked = installed.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert "does not have it: systemctl restart docker" in checked.stdout
    assert "the running daemon uses no proxy" in checked.stdout


def test_not_running(installed: "Machine") -> None:
    """Without a daemon nothing is proven: status 1, though all else is well."""
    checked = installed.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert "docker: not running, so nothing is proven" in checked.stdout
    assert ANSWERS in checked.stdout


def test_not_trusted(clean: "Machine", entrepot: Entrepot, running: Running) -> None:
    """Without the certificate it says so, and makes no connection that the proxy would remember."""
    clean.run(SCRIPT, "install", entrepot.url)
    with running(variables(entrepot)):
        checked = clean.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert f"sh ca/install.sh install --url {entrepot.url}" in checked.stdout
    assert entrepot.counter("certificate_refused") == 0


def test_trusted_too_late(installed: "Machine", entrepot: Entrepot, running: Running) -> None:
    """A daemon that was started before the certificate came does not trust it."""
    trust(installed, b"", ANCHOR)
    installed.write(ANCHOR, entrepot.ca_pem)
    when = time.time() + 3600
    os.utime(installed.at(ANCHOR), (when, when))
    with running(variables(entrepot)):
        checked = installed.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert "was started before the proxy's certificate came" in checked.stdout


@pytest.mark.parametrize("named", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_store_of_the_daemons_own(
    clean: "Machine", entrepot: Entrepot, upstreams: Upstreams, running: Running, named: str
) -> None:
    """Its SSL_CERT_FILE or SSL_CERT_DIR is where it looks, and where the check does."""
    clean.run(SCRIPT, "install", entrepot.url)
    own = "/etc/own/ca.pem"
    clean.write(own, upstreams.authority.pem.read_bytes() + entrepot.ca_pem)
    when = time.time() - 3600
    os.utime(clean.at(own), (when, when))
    value = own if named == "SSL_CERT_FILE" else "/etc/own"
    with running(variables(entrepot) | {named: value}):
        checked = clean.run(SCRIPT, "check")
    assert f"The proxy's certificate is trusted ({own})." in checked.stdout
    if named == "SSL_CERT_FILE":
        assert (checked.returncode, ANSWERS in checked.stdout) == (0, True)


def test_dockers_folder_for_one_registry(
    clean: "Machine", entrepot: Entrepot, running: Running
) -> None:
    """There is no trust for Docker Hub in docker's own folders."""
    clean.run(SCRIPT, "install", entrepot.url)
    for host in ("docker.io", "registry-1.docker.io", "hub.example.test"):
        clean.write(f"/etc/docker/certs.d/{host}/entrepot.crt", entrepot.ca_pem)
    with running(variables(entrepot)):
        checked = clean.run(SCRIPT, "check")
        other = clean.run(SCRIPT, "check", "--image", "hub.example.test/acme/app:1")
    assert checked.returncode == 1
    assert "is not in what docker trusts" in checked.stdout
    assert "docker trusts the proxy's certificate for hub.example.test" in other.stdout
    assert "https://hub.example.test/v2/ through the proxy: the cache answers" in other.stdout
    assert other.returncode == 1
    assert "not asked for hub.example.test/acme/app:1" in other.stdout


def test_a_tunnel(clean: "Machine", start_entrepot: "StartEntrepot", running: Running) -> None:
    """A registry that the proxy lets past, with its own certificate, is not cached: status 1."""
    proxy = start_entrepot(only_listed=True)
    trust(clean, proxy.ca_pem, ANCHOR)
    clean.run(SCRIPT, "install", proxy.url)
    with running(variables(proxy)):
        checked = clean.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert "through the proxy: a tunnel to the registry itself" in checked.stdout


def test_a_server_that_is_no_entrepot(
    clean: "Machine", answering: "Answering", running: Running
) -> None:
    """Something that answers /healthz is not yet the cache."""
    with answering({"/healthz": b""}) as address, running({}):
        clean.run(SCRIPT, "install", address)
        checked = clean.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert f"http://{address}/ca.pem: it cannot be fetched: that is no Entrep" in checked.stdout


def test_nothing(clean: "Machine", running: Running) -> None:
    """Where nothing is set, check says so with status 1, whether docker runs or not."""
    with running({}):
        assert clean.run(SCRIPT, "check").returncode == 1
    (clean.bin / "systemctl").unlink()
    checked = clean.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert "docker: no HTTPS_PROXY is set by systemd" in checked.stdout


def test_silent(clean: "Machine") -> None:
    """A proxy that does not answer is status 1."""
    clean.run(SCRIPT, "install", "127.0.0.1:9")
    checked = clean.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert "http://127.0.0.1:9/healthz: does not answer" in checked.stdout


def test_another(clean: "Machine", entrepot: Entrepot, running: Running) -> None:
    """Another proxy than the one asked for is status 1."""
    clean.run(SCRIPT, "install", "elsewhere")
    trust(clean, entrepot.ca_pem, ANCHOR)
    with running({"HTTPS_PROXY": "http://elsewhere:3128"}):
        checked = clean.run(SCRIPT, "check", entrepot.url)
    assert checked.returncode == 1
    assert f"HTTPS_PROXY is not {entrepot.url}" in checked.stdout
    assert "the running daemon uses http://elsewhere:3128" in checked.stdout


def test_beaten(installed: "Machine", entrepot: Entrepot, running: Running) -> None:
    """A drop-in that came later and beats ours is status 1, and named."""
    other = f"{FOLDER}/zzz.conf"
    installed.write(other, f"[Service]\nEnvironment=HTTPS_PROXY={entrepot.url}\n")
    with running(variables(entrepot)):
        checked = installed.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert f"HTTPS_PROXY={entrepot.url} ({other})" in checked.stdout


def test_dockers_own_settings(installed: "Machine", entrepot: Entrepot, running: Running) -> None:
    """What its daemon.json says counts before its environment; dockerd tells it (from 23.0 on)."""
    info = b'{"HttpProxy":"","HttpsProxy":"http://xxxxx:xxxxx@corp:80","NoProxy":".ghcr.io","Name":"x"}'
    engine = EngineSocket(installed.at("/run/docker.sock"), {"/info": info})
    with engine.running(), running(variables(entrepot)):
        checked = installed.run(SCRIPT, "check", entrepot.url)
    assert checked.returncode == 1
    assert "docker: the running daemon uses http://***@corp:80" in checked.stdout
    assert "(daemon.json, or an option) have NO_PROXY=.ghcr.io" in checked.stdout
    assert "bypasses" not in checked.stdout, "a subdomain is not the host itself"


def test_a_question_that_does_not_come_to_the_cache(
    installed: "Machine", entrepot: Entrepot, running: Running
) -> None:
    """A daemon that is answered proves nothing where the cache counts nothing."""
    answers = {"/distribution/check:1/json": b"{}"}
    engine = EngineSocket(installed.at("/run/docker.sock"), answers)
    with engine.running(), running(variables(entrepot)):
        checked = installed.run(SCRIPT, "check", "--image", "check:1")
    assert checked.returncode == 1
    assert "docker: the daemon asked for check:1, and was answered" in checked.stdout
    assert "It did not come to the cache" in checked.stdout


@pytest.mark.parametrize(
    "words", [("--image", "a b"), ("--image", "/x"), ("--image", "x", "--unit", "containerd")]
)
def test_no_image(clean: "Machine", words: tuple[str, ...]) -> None:
    """What is no image's name, or no question for docker, is refused."""
    clean.run(SCRIPT, "install", "cache")
    refused = clean.run(SCRIPT, "check", *words)
    assert refused.returncode == 1
    assert refused.stderr


def test_a_certificate_to_come(installed: "Machine", entrepot: Entrepot, running: Running) -> None:
    """While the proxy changes its authority, docker is to trust both certificates: else status 1.

    It trusts the one that is to come by the bundle, once it was started after that came.
    """
    words = [PYTHON, "-m", "entrepot.cli", "ca", "rotate", "--data", str(entrepot.data)]
    environment = clean_environment(entrepot.folder)
    subprocess.run(words, check=True, capture_output=True, timeout=60, env=environment)
    new = entrepot.ca_pem.rpartition(b"-----BEGIN")
    with running(variables(entrepot)):
        without = installed.run(SCRIPT, "check")
        trust(installed, b"".join(new[1:]), NEXT, hours=1)
        too_late = installed.run(SCRIPT, "check")
        trust(installed, b"", NEXT)
        installed.write(NEXT, b"".join(new[1:]))
        os.utime(installed.at(NEXT), (0, time.time() - 3600))
        checked = installed.run(SCRIPT, "check")
    assert without.returncode == 1
    assert "is about to change to another certificate" in without.stdout
    assert "which is not in what docker trusts yet" in without.stdout
    assert ANSWERS in without.stdout
    assert too_late.returncode == 1
    assert "came after the running docker was" in too_late.stdout
    assert "about to change to is trusted as well" in checked.stdout
    assert (checked.returncode, checked.stderr) == (0, "")

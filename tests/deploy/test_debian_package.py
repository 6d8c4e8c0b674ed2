"""The Debian package and its units, under a systemd that was booted for them.

One system goes through what an administrator does: install, restart, upgrade, remove, purge.
"""

import http.client
import json
import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrepot.version import VERSION
from rig.booted import Booted
from rig.client import ClientWithin
from rig.command import Finished, check
from rig.debian import debian_copy
from rig.images import Image, ImageFactory
from rig.needs import need
from rig.networks import Doors, Network
from rig.process import eventually
from rig.upstreams import Upstreams

PORT = 3128
BASE = "https://hub.example.test/v2/app"
PULLERS = 3
PASSING = ("dev", "proc", "run", "sys", "tmp", "root", "var/cache", "var/lib/dpkg", "var/log")
"""Where a system writes by itself."""
BACKUPS = re.compile(r"etc/(passwd|group|shadow|gshadow|subuid|subgid)-|etc/\.pwd\.lock")


@dataclass(slots=True)
class System:
    """A booted Debian, and the way to the upstreams from within."""

    tree: Path
    network: Network
    booted: Booted
    settings: str
    image: Image
    before: dict[str, bytes] = field(default_factory=dict)
    """Its files before anything was installed."""

    def run(self, *words: str) -> Finished:
        return self.booted.run(*words, timeout=180)

    def get(self, path: str) -> bytes:
        """GET something of the proxy itself."""
        with self.network.entered():
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
            connection.connect()
        with closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read()

    def client(self) -> ClientWithin:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.get("/ca.pem").decode())
        return ClientWithin(self.network, PORT, context)

    def state(self, unit: str) -> str:
        return self.run("systemctl", "is-active", unit).stdout.strip()

    def main_pid(self) -> int:
        """The proxy's process, as it is called within."""
        shown = check(self.run("systemctl", "show", "--property=MainPID", "entrepot.service"))
        return int(shown.strip().partition("=")[2])

    def files(self) -> dict[str, bytes]:
        """Every file and folder, with what is in it; links are what they lead to."""
        found = {}
        for folder, folders, names in os.walk(self.tree):
            where = Path(folder).relative_to(self.tree)
            folders[:] = [name for name in folders if str(where / name) not in PASSING]
            for name in (*folders, *names):
                path = Path(folder, name)
                if not BACKUPS.fullmatch(str(where / name)):
                    found[str(where / name)] = _content(path)
        return found


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return str(path.readlink()).encode()
    return path.read_bytes() if path.is_file() else b""


@pytest.fixture(scope="module")
def system(
    package: Path, upstreams: Upstreams, images: ImageFactory, rig_folder: Path
) -> Iterator[System]:
    """Booted, with the package in /root, and not installed yet."""
    need("ip", "nsenter", "unshare", "setpriv")
    image = images.image("packaged")
    upstreams.push(image, "hub.example.test/app:1")
    port = upstreams.nginx.tls_port
    resolve = [f"{name}:443:127.0.0.1:{port}" for name in ("hub.example.test", "cdn.example.test")]
    settings = f'size = "1GiB"\nupstream_ca = "/etc/ssl/rig.pem"\nresolve = {resolve}\n'
    with ExitStack() as stack:
        network = Network()
        stack.callback(network.stop)
        doors = Doors(network)
        stack.callback(doors.close)
        doors.open(["127.0.0.1"], port, port)
        tree = stack.enter_context(debian_copy(rig_folder / "system"))
        (tree / "root" / package.name).write_bytes(package.read_bytes())
        (tree / "etc/ssl/rig.pem").write_bytes(upstreams.authority.pem.read_bytes())
        (tree / "etc/ssl/rig.pem").chmod(0o644)
        booted = Booted(tree, network)
        stack.callback(booted.stop)
        system = System(tree, network, booted, settings, image)
        system.before = system.files()
        yield system


def install(system: System, package: Path) -> None:
    check(system.run("dpkg", "--force-unsafe-io", "--install", f"/root/{package.name}"))


def await_ready(system: System) -> None:
    eventually(
        lambda: system.run("curl", "-fsS", f"http://127.0.0.1:{PORT}/readyz").returncode == 0,
        what="ready",
    )


def test_installing_it_starts_it(system: System, package: Path) -> None:
    """As a user of its own, with its settings readable to that user alone."""
    install(system, package)
    await_ready(system)
    assert [system.state(f"entrepot.{kind}") for kind in ("socket", "service")] == ["active"] * 2
    assert check(system.run("entrepot", "--version")) == f"entrepot {VERSION}\n"
    owner = check(system.run("stat", "-c", "%U:%G %a", "/var/lib/entrepot")).strip()
    assert owner == "entrepot:entrepot 700"
    settings = check(system.run("stat", "-c", "%U:%G %a", "/etc/entrepot/entrepot.toml")).strip()
    assert settings == "root:entrepot 640"


def test_it_can_do_nothing_but_its_work(system: System) -> None:
    """What the kernel says of the process, and what it can write."""
    pid = system.main_pid()
    status = dict(
        line.split(":\t", 1)
        for line in check(system.run("cat", f"/proc/{pid}/status")).splitlines()
    )
    assert {status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    assert status["Uid"].split() != ["0"] * 4
    within = ("nsenter", f"--target={pid}", "--mount", "--", "sh", "-c")
    said = system.run(*within, "touch /etc/x /usr/x /home/x 2>&1; touch /var/lib/entrepot/x").stdout
    assert said.count("Read-only file system") == 3
    check(system.run("rm", "/var/lib/entrepot/x"))


def test_systemd_finds_nothing_wrong(system: System) -> None:
    """With the program where the units say it is; and by the manager that runs them."""
    units = ("entrepot.socket", "entrepot.service", "entrepot-redirect.service")
    paths = [f"/usr/lib/systemd/system/{unit}" for unit in units]
    verified = system.run("systemd-analyze", "verify", "--man=no", *paths)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_settings_are_those_of_the_file(system: System) -> None:
    """What stands there counts after a restart; a pull goes through."""
    file = system.tree / "etc/entrepot/entrepot.toml"
    with file.open("a") as opened:
        opened.write(system.settings)
    check(system.run("systemctl", "restart", "entrepot"))
    assert json.loads(system.get("/readyz"))["status"] == "ready"  # which systemctl has waited for
    shown = system.run("systemctl", "show", "--property=StatusText", "entrepot").stdout
    assert shown == f"StatusText=listening on 0.0.0.0:{PORT},[::]:{PORT}\n"
    assert "limit=1.0GiB" in system.booted.journal("entrepot.service")
    _pull(system.client(), system.image)
    assert "hub.example.test/app:1" in check(system.run("entrepot", "ls"))


def test_a_start_that_fails_is_a_failure_of_systemctl(system: System) -> None:
    """It is told at once, with the reason in the journal, and the next start is well."""
    file = system.tree / "etc/entrepot/entrepot.toml"
    well = file.read_text()
    file.write_text(f"{well}sizee = 1\n")
    assert system.run("systemctl", "restart", "entrepot").returncode != 0
    assert "did you mean 'size'?" in system.booted.journal("entrepot.service")
    file.write_text(well)
    check(system.run("systemctl", "restart", "entrepot"))


def _pull(client: ClientWithin, image: Image) -> None:
    assert client.manifest(f"{BASE}/manifests/1").digest == image.digest
    for blob in image.blobs:
        assert client.get(f"{BASE}/blobs/{blob.digest}").body == blob.read()


def test_the_redirection_is_installed_and_removed_by_its_unit(system: System) -> None:
    """As confined as it is, it can write the one table of rules, and take it away."""
    table = ("nft", "list", "table", "inet", "entrepot")
    check(system.run("systemctl", "start", "entrepot-redirect.service"))
    assert "redirect to :3129" in check(system.run(*table))
    check(system.run("systemctl", "stop", "entrepot-redirect.service"))
    assert system.run(*table).returncode != 0


class Pulling:
    """A client that pulls over and over, each request on a connection of its own."""

    def __init__(self, system: System, stop: threading.Event) -> None:
        self.pulls = 0
        self.failures: list[BaseException] = []
        self._client, self._image, self._stop = system.client(), system.image, stop
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                _pull(self._client, self._image)
                self.pulls += 1
        except BaseException as failure:  # noqa: BLE001 it is looked at by the test
            self.failures.append(failure)


def _upgrade(system: System, package: Path) -> None:
    install(system, package)


def _restart(system: System, _: Path) -> None:
    check(system.run("systemctl", "restart", "entrepot.service"))


@pytest.mark.parametrize("change", [_restart, _upgrade], ids=["restart", "upgrade"])
def test_nobody_is_refused_meanwhile(
    system: System, package: Path, change: Callable[[System, Path], None]
) -> None:
    """The socket stays open, held by systemd: clients that pull notice a pause alone."""
    was = system.main_pid()
    stop = threading.Event()
    pulling = [Pulling(system, stop) for _ in range(PULLERS)]

    def pull_on() -> None:
        marks = [one.pulls for one in pulling]
        eventually(
            lambda: (
                any(one.failures for one in pulling)
                or all(one.pulls > mark for one, mark in zip(pulling, marks, strict=True))
            ),
            what="each has pulled",
        )

    try:
        pull_on()
        change(system, package)
        pull_on()
    finally:
        stop.set()
        for one in pulling:
            one.thread.join(60)
    said = system.booted.journal("entrepot.service")
    assert [one.failures for one in pulling] == [[]] * PULLERS, said
    assert system.main_pid() != was
    assert "transfers_unfinished" not in said


def test_removing_it_keeps_what_is_the_administrators(system: System) -> None:
    """Settings and cache stay, nothing listens any more."""
    check(system.run("dpkg", "--remove", "entrepot"))
    assert system.state("entrepot.service") != "active"
    assert system.state("entrepot.socket") != "active"
    assert (system.tree / "etc/entrepot/entrepot.toml").read_text().endswith(system.settings)
    assert (system.tree / "var/lib/entrepot/ca/mitmproxy-ca.pem").exists()
    assert not (system.tree / "usr/lib/entrepot").exists()


def test_purging_it_leaves_nothing(system: System) -> None:
    """Every file is as it was before; the user is gone."""
    check(system.run("dpkg", "--purge", "entrepot"))
    after = system.files()
    changed = {
        name
        for name in system.before.keys() | after.keys()
        if system.before.get(name) != after.get(name)
    }
    assert changed == set()
    assert system.run("getent", "passwd", "entrepot").returncode != 0

"""scripts/redirect.sh in network namespaces of the tests' own, by each shell that a machine has."""

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from rig.needs import need, need_root
from rig.networks import Network

SCRIPT = Path(__file__).parents[2] / "scripts" / "redirect.sh"
TOOLS = ("awk", "cat", "grep", "id", "sed", "sort")
OTHERS = "table ip nat { chain prerouting { type nat hook prerouting priority -100; } ; }"
PRIVATE = "{ 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.168.0.0/16 }"


@dataclass
class Gateway:
    """A machine with a network of its own, a shell, and `bin` for a PATH."""

    network: Network
    shell: tuple[str, ...]
    bin: Path

    def run(self, *words: str, user: str = "root") -> "CompletedProcess[str]":
        setpriv = (str(shutil.which("setpriv")), "--reuid", user)
        path = ("/usr/bin/env", "-i", f"PATH={self.bin}")
        return self.network.run(*setpriv, *path, *self.shell, SCRIPT, *words)

    def rules(self) -> str:
        return self.network.run("nft", "list", "ruleset").stdout

    def words(self) -> list[str]:
        """The rules, each as nft says it."""
        return [line.strip() for line in self.rules().splitlines()]


@pytest.fixture(params=["dash", "busybox"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateway]:
    """A machine with the rules of somebody else, and the tools of its shell's distribution."""
    need_root()
    need("ip", "nft", "nsenter", "unshare")
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"{request.param} is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        found = shell if request.param == "busybox" else shutil.which(tool)
        (programs / tool).symlink_to(str(found))
    (programs / "nft").symlink_to(str(shutil.which("nft")))
    network = Network()
    try:
        network.script(f"nft '{OTHERS}'")
        yield Gateway(network, (shell, "sh") if request.param == "busybox" else (shell,), programs)
    finally:
        network.stop()


def test_a_gateway(gateway: Gateway) -> None:
    """By itself it redirects what private clients send to port 443, in both families."""
    done = gateway.run("install")
    assert done.returncode == 0, done
    rules = gateway.words()
    assert f"ip saddr {PRIVATE} tcp dport 443 redirect to :3129" in rules
    assert "ip6 saddr fc00::/7 tcp dport 443 redirect to :3129" in rules
    assert "fib daddr type local accept" in rules
    assert "chain output {" not in rules
    assert "reboot" in done.stdout


def test_a_single_machine(gateway: Gateway) -> None:
    """With --local it redirects what the machine itself sends, but for the proxy's user."""
    assert gateway.run("install", "--local", "--user", "nobody").returncode == 0
    rules = gateway.words()
    assert "chain prerouting {" in rules  # somebody else's
    assert not [rule for rule in rules if "saddr" in rule]
    assert rules.index("meta skuid 65534 accept") < rules.index("tcp dport 443 redirect to :3129")


def test_what_is_named(gateway: Gateway) -> None:
    """Ports, networks of both families, and the machine itself, all at once."""
    words = ("--from", "10.1.0.0/16", "--from", "fd00:1::/32", "--from", "10.9.9.9", "--port", "99")
    ports = ("--registry-port", "443", "--registry-port", "5000")
    assert gateway.run("install", *words, *ports, "--local", "--user", "nobody").returncode == 0
    rules = gateway.words()
    assert "ip saddr { 10.1.0.0/16, 10.9.9.9 } tcp dport { 443, 5000 } redirect to :99" in rules
    assert "ip6 saddr fd00:1::/32 tcp dport { 443, 5000 } redirect to :99" in rules
    assert "tcp dport { 443, 5000 } redirect to :99" in rules


def test_nothing_else_is_touched(gateway: Gateway) -> None:
    """Install and uninstall, each twice, leave what others wrote as it was."""
    before = gateway.rules()
    gateway.run("install")
    first = gateway.rules()
    assert before in first
    again = gateway.run("install")
    assert (again.returncode, gateway.rules()) == (0, first)
    assert "as it should be already" in again.stdout
    assert gateway.run("uninstall").returncode == 0
    assert gateway.rules() == before
    nothing = gateway.run("uninstall")
    assert (nothing.returncode, nothing.stdout) == (0, "Nothing to remove.\n")


def test_the_unit(gateway: Gateway) -> None:
    """What deploy/systemd/entrepot-redirect.service runs at the start and at the stop does that."""
    unit = (SCRIPT.parents[1] / "deploy/systemd/entrepot-redirect.service").read_text()
    before = gateway.rules()
    for key, installed in (("ExecStart", True), ("ExecStop", False)):
        (command,) = (line.split() for line in unit.splitlines() if line.startswith(key))
        assert command[:2] == [f"{key}=/bin/sh", f"/opt/entrepot/scripts/{SCRIPT.name}"]
        assert gateway.run(*command[2:]).returncode == 0
        assert (gateway.rules() != before) is installed


def test_another_install_replaces(gateway: Gateway) -> None:
    """There is never more than one table of ours, and it is the last one that was asked for."""
    gateway.run("install", "--port", "4000")
    gateway.run("install", "--port", "4001", "--from", "10.1.0.0/16")
    assert [rule for rule in gateway.words() if "redirect" in rule] == [
        "ip saddr 10.1.0.0/16 tcp dport 443 redirect to :4001"
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "0"), "want 1 to 65535"),
        (("--port", "65536"), "want 1 to 65535"),
        (("--registry-port", "https"), "got port 'https'"),
        (("--from", "10.0.0.0/8; flush ruleset"), "got network"),
        (("--from", "example"), "got network"),
        (("--from", "10.0.0.0/99"), "nft took none of the rules"),
        (("--local", "--user", "nosuch"), "there is no user 'nosuch'"),
        (("--local", "--user", "root"), "the proxy must run as a user of its own"),
        (("--nothing",), "usage: "),
        (("--port",), "usage: "),
    ],
)
def test_refused(gateway: Gateway, words: tuple[str, ...], said: str) -> None:
    """What cannot be is refused in one line, and the rules that were there stay."""
    gateway.run("install", "--port", "4000")
    before = gateway.rules()
    refused = gateway.run("install", *words)
    assert refused.returncode in (1, 2)
    assert said in refused.stderr
    assert gateway.rules() == before


@pytest.mark.parametrize("action", ["install", "check", "uninstall"])
def test_without_nft(gateway: Gateway, action: str) -> None:
    """Where nft is missing it says so, and how to get it."""
    (gateway.bin / "nft").unlink()
    finished = gateway.run(action)
    assert finished.returncode == 1
    assert "nft is not here" in finished.stdout + finished.stderr


@pytest.mark.parametrize("action", ["install", "check", "uninstall"])
def test_without_root(gateway: Gateway, action: str) -> None:
    """Another user than root is told so: to him nft shows nothing, as if nothing were there."""
    finished = gateway.run(action, user="65534")
    assert finished.returncode == 1
    assert "must be run as root" in finished.stderr


def test_check(gateway: Gateway) -> None:
    """It says what is missing and what to do next, in the order in which one does it."""
    nothing = gateway.run("check")
    assert (nothing.returncode, nothing.stdout.count("Next: ")) == (1, 1)
    gateway.run("install", "--from", "10.1.0.0/16")
    silent = gateway.run("check")
    assert silent.returncode == 1
    assert "ip saddr 10.1.0.0/16 tcp dport 443 redirect to :3129" in silent.stdout
    assert "Port 3129: nobody listens" in silent.stdout
    assert "IPv4 is not forwarded here" in silent.stdout
    assert "IPv6" not in silent.stdout
    gateway.network.script("echo 1 >/proc/sys/net/ipv4/ip_forward")
    with gateway.network.entered():
        listener = socket.create_server(("::", 3129), family=socket.AF_INET6)
    with listener:
        well = gateway.run("check")
    assert (well.returncode, "forwarded" in well.stdout) == (0, False)
    assert "Port 3129: a process listens." in well.stdout


@pytest.mark.parametrize(
    ("words", "address", "said"),
    [
        (("--from", "10.1.0.0/16"), "127.0.0.1", "not where IPv4 clients come in"),
        (("--from", "10.1.0.0/16"), "", ""),
        (("--from", "fd00::/8"), "", "not where IPv6 clients come in"),
        (("--from", "fd00::/8"), "::1", "not where IPv6 clients come in"),
        (("--from", "fd00::/8"), "::", ""),
        (("--local", "--user", "nobody"), "127.0.0.1", "is not of the user"),
    ],
)
def test_check_looks_at_the_listener(
    gateway: Gateway, words: tuple[str, ...], address: str, said: str
) -> None:
    """Who listens must be reached by what is redirected, and be the user who is let through."""
    gateway.network.script("echo 1 >/proc/sys/net/ipv4/ip_forward")
    gateway.network.script("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
    assert gateway.run("install", *words).returncode == 0
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with gateway.network.entered():
        listener = socket.create_server((address, 3129), family=family)
    with listener:
        checked = gateway.run("check")
    assert checked.returncode == bool(said), checked
    assert said in checked.stdout


def test_check_forwarding(gateway: Gateway) -> None:
    """A gateway that forwards nothing is no gateway: status 1."""
    gateway.run("install", "--from", "10.1.0.0/16")
    with gateway.network.entered():
        listener = socket.create_server(("", 3129))
    with listener:
        checked = gateway.run("check")
    assert (checked.returncode, "IPv4 is not forwarded here" in checked.stdout) == (1, True)


@pytest.mark.parametrize("words", [(), ("nothing",), ("check", "more")])
def test_usage(gateway: Gateway, words: tuple[str, ...]) -> None:
    """Anything else is answered with the usage."""
    finished = gateway.run(*words)
    assert (finished.returncode, finished.stderr.startswith("usage: ")) == (2, True)

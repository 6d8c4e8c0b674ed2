"""scripts/containerd-mirror.sh on machines of the tests' own; it leaves nothing behind."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ca.conftest import Answering, Machine

SCRIPT = Path(__file__).parents[2] / "scripts" / "containerd-mirror.sh"
CERTS = "/etc/containerd/certs.d"
HOSTS = f"{CERTS}/_default/hosts.toml"
CONFIG = "/etc/containerd/config.toml"
NAMED = f'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{CERTS}"\n'


@pytest.fixture
def mirror(answering: "Answering") -> Iterator[str]:
    """The URL of something that answers /v2/."""
    with answering({"/v2/": b""}) as address:
        yield f"http://{address}"


@pytest.fixture
def clean(machine: "Machine") -> "Machine":
    """A machine without containerd's program or settings."""
    shutil.rmtree(machine.at("/etc/containerd"), ignore_errors=True)
    return machine


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("cache", "http://cache:5000"),
        ("cache:80", "http://cache:80"),
        ("http://cache.example.com", "http://cache.example.com:5000"),
        ("http://192.0.2.7:5000/", "http://192.0.2.7:5000"),
        ("[2001:db8::7]", "http://[2001:db8::7]:5000"),
        ("http://[2001:db8::7]:80", "http://[2001:db8::7]:80"),
    ],
)
def test_install(clean: "Machine", given: str, url: str) -> None:
    """Each form of MIRROR becomes the one host, for all registries, without a `server`."""
    clean.write(CONFIG, NAMED)
    done = clean.run(SCRIPT, "install", given)
    assert (done.returncode, done.stderr) == (0, "")
    lines = clean.at(HOSTS).read_text().splitlines()
    assert lines[0].startswith("# Written by containerd-mirror.sh")
    assert lines[1:] == [f'[host."{url}"]', '  capabilities = ["pull", "resolve"]']
    assert stat.S_IMODE(clean.at(HOSTS).stat().st_mode) == 0o644
    assert f"Wrote {HOSTS}: {url}" in done.stdout


def test_refused(clean: "Machine") -> None:
    """What is no mirror is refused, without its password, and nothing is written."""
    before = clean.listing()
    for words in (
        *(("a b",), ('a"b',), ("a\nb",), ("$(id)",), ("a/b",), ("http://",), ("https://cache",)),
        *(("a:0",), ("a:65536",), ("a:b",), ("a:",), (":5000",), ("a:1:2",), ("2001:db8::7",)),
        *(("[::1",), ("[x]:1",), ("http://u:s3cret@a",)),
        *(("a", "--hosts-dir", "certs"), ("a", "--hosts-dir", '/a"b'), ("a", "--config", "c")),
    ):
        refused = clean.run(SCRIPT, "install", *words)
        assert (refused.returncode, refused.stdout) == (1, ""), words
        assert refused.stderr
        assert "s3cret" not in refused.stderr
    assert clean.listing() == before


@pytest.mark.parametrize("options", [(), ("--hosts-dir", "/etc/elsewhere/certs.d/")])
def test_nothing_is_left(clean: "Machine", options: tuple[str, ...]) -> None:
    """Install and uninstall leave everything as it was; containerd's settings are never touched."""
    clean.write(CONFIG, NAMED)
    clean.at("/etc/elsewhere").mkdir()
    before = clean.listing()
    clean.run(SCRIPT, "install", "cache", *options)
    assert clean.listing() != before
    assert clean.run(SCRIPT, "uninstall", *options).returncode == 0
    assert clean.listing() == before


def test_install_twice(clean: "Machine") -> None:
    """A second install changes nothing and says so; another mirror replaces the first."""
    clean.write(CONFIG, NAMED)
    clean.run(SCRIPT, "install", "cache")
    before = clean.listing()
    again = clean.run(SCRIPT, "install", "cache")
    assert (again.returncode, clean.listing()) == (0, before)
    assert "as it should be already" in again.stdout
    assert "http://other:5000" in clean.run(SCRIPT, "install", "other").stdout
    assert "http://other:5000" in clean.at(HOSTS).read_text()


@pytest.mark.parametrize("edited", [False, True])
def test_what_others_wrote_stays(clean: "Machine", *, edited: bool) -> None:
    """A file of somebody else's, or one of ours that was edited, is neither changed nor removed."""
    if edited:
        clean.run(SCRIPT, "install", "old")
        clean.write(HOSTS, clean.at(HOSTS).read_text() + '  ca = "/etc/ca.pem"\n')
    else:
        clean.write(HOSTS, 'server = "https://corp.example"\n')
    before = clean.listing()
    refused = clean.run(SCRIPT, "install", "cache")
    assert (refused.returncode, clean.listing()) == (1, before)
    assert '[host."http://cache:5000"]' in refused.stderr
    assert clean.run(SCRIPT, "uninstall").returncode == 1
    assert clean.listing() == before


def test_a_link_stays(clean: "Machine") -> None:
    """A link is what a tool for configurations made, even if it leads nowhere."""
    clean.at(f"{CERTS}/_default").mkdir(parents=True)
    clean.at(HOSTS).symlink_to("/nowhere/hosts.toml")
    before = clean.listing()
    assert clean.run(SCRIPT, "install", "cache").returncode == 1
    assert clean.run(SCRIPT, "uninstall").returncode == 1
    assert clean.listing() == before


def test_uninstall_nothing(clean: "Machine") -> None:
    """Where nothing is installed, uninstall does nothing and is content."""
    before = clean.listing()
    assert clean.run(SCRIPT, "uninstall").returncode == 0
    assert clean.listing() == before


def test_uninstall_another(clean: "Machine") -> None:
    """Uninstall of another mirror than the one set leaves it alone."""
    clean.run(SCRIPT, "install", "cache")
    before = clean.listing()
    refused = clean.run(SCRIPT, "uninstall", "elsewhere")
    assert (refused.returncode, clean.listing()) == (1, before)
    assert "names http://cache:5000" in refused.stderr


NEW = "[plugins.'io.containerd.cri.v1.images'.registry]"
OLD = '[plugins."io.containerd.grpc.v1.cri".registry]'
ELSEWHERE = "config_path in a section that version {} of the file does not have."
DISABLED = "The CRI plugin is disabled"
READS = f"containerd reads {CERTS} (config_path)."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NAMED, READS),
        (f'disabled_plugins = ["io.containerd.internal.v1.cri-x"]\n{NAMED}', READS),
        (f'version = 3\n{OLD}\nconfig_path = "{CERTS}"\n', f"  {NEW}\nneeds the line\n"),
        (f'version = 2\n{NEW}\nconfig_path = "{CERTS}"\n', ELSEWHERE.format(2)),
        (f'version = 2\n[plugins.cri.registry]\nconfig_path = "{CERTS}"\n', ELSEWHERE.format(2)),
        (f'version = 3\n{NEW}\n  config_path = "/a:{CERTS}:/b" # ours\n', READS),
        (f"version = 3\n{NEW}\nconfig_path='{CERTS}/'\n", READS),
        (f'[plugins.cri.registry]\nconfig_path = "{CERTS}"\n', READS),
        (
            f'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nregistry.config_path="{CERTS}"',
            READS,
        ),
        ("version = 2\n", f"  {OLD}\nneeds the line\n"),
        (f'version = 2\n{OLD}\nconfig_path = ""\n', f"  {OLD}\nneeds the line\n"),
        (f'version = 2\n#{OLD}\n#config_path = "{CERTS}"\n', f"  {OLD}\nneeds the line\n"),
        ("version = 3\n", f"  {NEW}\nneeds the line\n"),
        ('root = "/srv"\n', "  [plugins.cri.registry]\nneeds the line\n"),
        ("", "and the file, which is empty, before it: version = 3"),
        (f'version = 2\n{OLD}\nconfig_path = "/srv/certs"\n', "containerd reads /srv/certs"),
        (f'version = 2\n{OLD}\nconfig_path = "{CERTS}-old"\n', f"containerd reads {CERTS}-old"),
        ('disabled_plugins = [\n  "cri",\n]\n', DISABLED),
        ('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n', DISABLED),
        ("version = 3\ndisabled_plugins = ['io.containerd.cri.v1.images']\n", DISABLED),
        (
            (
                'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\n'
                'endpoint = ["http://x"]\n'
            ),
            "the CRI plugin does not start: move each such registry",
        ),
        (
            (
                'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.configs."r:5".tls]\n'
                'ca_file = "/x"\n'
            ),
            "the CRI plugin does not start: move each such registry",
        ),
    ],
)
def test_settings(clean: "Machine", text: str, said: str) -> None:
    """Whether the CRI plugin reads the folder, in each form of the file, and what it lacks."""
    clean.write(CONFIG, text)
    done = clean.run(SCRIPT, "install", "cache")
    assert said in done.stdout
    assert done.returncode == (said != READS)
    assert ("nothing to restart" in done.stdout) == (said == READS)
    assert ("Until then no image comes by the mirror." in done.stdout) == (said != READS)
    lacks = "needs the line" in done.stdout
    assert ("Next: systemctl restart containerd" in done.stdout) == lacks
    assert clean.at(CONFIG).read_text() == text


def test_containerds_own_word_counts(clean: "Machine") -> None:
    """Its dump has what it imports and its defaults, which the file does not."""
    clean.write(CONFIG, 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n')
    dump = NAMED.replace('"', '\\"')
    clean.program("containerd", f'[ "$*" = "--config {CONFIG} config dump" ] && echo "{dump}"')
    assert READS in clean.run(SCRIPT, "install", "cache").stdout


@pytest.mark.skipif(shutil.which("containerd") is None, reason="containerd is not installed")
def test_with_a_real_containerd(clean: "Machine") -> None:
    """What the script says to add is what makes this machine's containerd read the folder."""
    clean.offer("containerd")
    clean.write(CONFIG, "version = 2\n")
    assert "does not read" in clean.run(SCRIPT, "check").stdout
    said = clean.run(SCRIPT, "install", "cache").stdout.splitlines()
    at = said.index("needs the line")
    clean.write(CONFIG, f"version = 2\n{said[at - 1].strip()}\n{said[at + 1].strip()}\n")
    assert READS in clean.run(SCRIPT, "check").stdout
    clean.write(CONFIG, f"{NAMED}[nothing\n")
    broken = clean.run(SCRIPT, "install", "cache")
    assert (broken.returncode, READS in broken.stdout) == (1, False)
    assert f"containerd does not take {CONFIG}: " in broken.stdout


def test_a_folder_of_its_own_is_named(clean: "Machine") -> None:
    """For these _default does not count: containerd looks there last."""
    clean.write(f"{CERTS}/docker.io/hosts.toml", 'server = "https://registry-1.docker.io"\n')
    clean.write(f"{CERTS}/ghcr.io/hosts.toml", '[host."http://cache:5000"]\n')
    said = clean.run(SCRIPT, "install", "cache").stdout
    assert "docker.io has a folder of its own" in said
    assert "ghcr.io" not in said


def test_check(clean: "Machine", mirror: str) -> None:
    """Check shows the mirror, that containerd reads the file, and that the mirror answers."""
    clean.offer("curl")
    clean.write(CONFIG, NAMED)
    clean.run(SCRIPT, "install", mirror)
    checked = clean.run(SCRIPT, "check", mirror)
    assert checked.returncode == 0
    assert checked.stdout.splitlines() == [f"{HOSTS}: {mirror}", READS, f"{mirror}/v2/: answers"]


def test_check_wget(clean: "Machine", mirror: str) -> None:
    """Without curl it asks by wget, past a proxy that is set already."""
    clean.offer_wget()
    clean.variables = {"http_proxy": "http://127.0.0.1:9"}
    clean.write(CONFIG, NAMED)
    clean.run(SCRIPT, "install", mirror)
    assert clean.run(SCRIPT, "check").returncode == 0


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        (None, None, f"{HOSTS}: not installed"),
        ('server = "https://corp.example"\n', None, f"{HOSTS}: not from here, or edited since"),
        ("ours", "elsewhere", f"{HOSTS}: is not http://elsewhere:5000"),
        ("ours", None, "http://127.0.0.1:9/v2/: does not answer as a registry"),
    ],
)
def test_check_wrong(clean: "Machine", text: str | None, given: str | None, said: str) -> None:
    """Not installed, somebody else's, another mirror, a mirror that is down: status 1."""
    clean.offer("curl")
    clean.write(CONFIG, NAMED)
    if text == "ours":
        clean.run(SCRIPT, "install", "127.0.0.1:9")
    elif text is not None:
        clean.write(HOSTS, text)
    checked = clean.run(SCRIPT, "check", *([given] if given else []))
    assert checked.returncode == 1
    assert said in checked.stdout


def test_check_settings(clean: "Machine", mirror: str) -> None:
    """Where containerd does not read the folder, check is status 1 and says what to add."""
    clean.offer("curl")
    clean.write(CONFIG, "version = 2\n")
    clean.run(SCRIPT, "install", mirror)
    checked = clean.run(SCRIPT, "check")
    assert checked.returncode == 1
    assert f'config_path = "{CERTS}"' in checked.stdout


@pytest.mark.parametrize("changed", [False, True])
def test_check_not_restarted(clean: "Machine", mirror: str, *, changed: bool) -> None:
    """A daemon older than its settings is status 1, with the command to run."""
    clean.offer("curl")
    clean.write(CONFIG, NAMED)
    clean.program("systemctl", f"echo MainPID={os.getpid()}")
    age = 3600 if changed else -100 * 24 * 3600
    when = clean.at(CONFIG).stat().st_mtime + age
    os.utime(clean.at(CONFIG), (when, when))
    clean.run(SCRIPT, "install", mirror)
    checked = clean.run(SCRIPT, "check")
    assert checked.returncode == changed
    assert ("systemctl restart containerd" in checked.stdout) == changed


@pytest.mark.parametrize("words", [("-c", "{}"), ("--config", "{}"), ("--config={}",), ()])
def test_another_file_of_the_running_daemon(
    clean: "Machine", mirror: str, words: tuple[str, ...]
) -> None:
    """What counts is the file with which containerd was started; it is named."""
    clean.offer("curl")
    clean.write(CONFIG, NAMED)
    clean.run(SCRIPT, "install", mirror)
    command = ["sh", "-c", "read -r _", "-", *(word.format("/srv/other.toml") for word in words)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as daemon:
        clean.program("systemctl", f"echo MainPID={daemon.pid}")
        checked = clean.run(SCRIPT, "check")
        daemon.communicate(b"\n")
    assert checked.returncode == bool(words)
    assert ("use --config /srv/other.toml" in checked.stdout) == bool(words)


@pytest.mark.parametrize(
    "arguments",
    [(), ("start",), ("install",), ("install", "a", "b"), ("install", "a", "--hosts-dir")],
)
def test_usage(clean: "Machine", arguments: tuple[str, ...]) -> None:
    """A command line that makes no sense shows the usage, with status 2."""
    shown = clean.run(SCRIPT, *arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "usage: " in shown.stderr

"""scripts/docker-proxy.sh on machines of the tests' own, and what it leaves behind: nothing."""

import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ca.conftest import Machine

SCRIPT = Path(__file__).parents[2] / "scripts" / "docker-proxy.sh"
FOLDER = "/etc/systemd/system/docker.service.d"
DROPIN = f"{FOLDER}/zz-entrepot.conf"
OTHER = f"{FOLDER}/http-proxy.conf"
LOCAL = "localhost,127.0.0.0/8,::1"
CORPORATE = """[Service]
Environment="HTTPS_PROXY=http://joe:s3cret@corp.example:8080" \\
    'NO_PROXY=.corp.example,localhost'
"""


@pytest.fixture
def clean(machine: "Machine") -> "Machine":
    """A machine on which nobody has touched docker's unit."""
    shutil.rmtree(machine.at(FOLDER), ignore_errors=True)
    machine.at("/etc/systemd/system").mkdir(parents=True, exist_ok=True)
    return machine


def settings(machine: "Machine", path: str = DROPIN) -> dict[str, str]:
    """The assignments in a drop-in of ours, as they are written."""
    lines = machine.at(path).read_text().splitlines()
    texts = [line.removeprefix('Environment="').removesuffix('"') for line in lines if "=" in line]
    return dict(text.split("=", 1) for text in texts)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("cache", "http://cache:3128"),
        ("cache.example.com", "http://cache.example.com:3128"),
        ("cache:8080", "http://cache:8080"),
        ("http://cache:8080", "http://cache:8080"),
        ("http://cache:8080/", "http://cache:8080"),
        ("192.0.2.7:3128", "http://192.0.2.7:3128"),
        ("[2001:db8::7]:3128", "http://[2001:db8::7]:3128"),
        ("[2001:db8::7]", "http://[2001:db8::7]:3128"),
        ("http://u:p@cache:8080", "http://u:p@cache:8080"),
        ("http://u:%40$'!@cache", "http://u:%%40$'!@cache:3128"),
    ],
)
def test_install(clean: "Machine", given: str, url: str) -> None:
    """Each form of PROXY becomes the URL that systemd hands to the daemon."""
    assert clean.run(SCRIPT, "install", given).returncode == 0
    assert settings(clean) == {
        "HTTP_PROXY": url,
        "HTTPS_PROXY": url,
        "NO_PROXY": "localhost,127.0.0.0/8,::1",
    }


@pytest.mark.parametrize(
    "given",
    [
        *("a b", 'a"b', "a\nb", "a;b", "$(id)", "a/b", "http://", "https://cache", "socks5://a"),
        *("a:0", "a:65536", "a:b", "a:", ":3128", "a:1:2", "2001:db8::7", "[::1", "[x]:1"),
        *("http://u:s3cret%4@a", "http://u:s3cret%@a", "http://u:s3cret%zz@a", "u:s3cret/@a"),
        *("http://u:s3cret @a", "http://u:s3cret@x@a", 'http://u:s3cret"@a'),
    ],
)
def test_refused(clean: "Machine", given: str) -> None:
    """What is no proxy is refused, without its password, and nothing is written."""
    before = clean.listing()
    refused = clean.run(SCRIPT, "install", given)
    assert (refused.returncode, clean.listing()) == (1, before)
    assert refused.stderr
    assert "s3cret" not in refused.stderr


def test_nothing_is_left(clean: "Machine") -> None:
    """Install and uninstall leave everything as it was, the folder included."""
    before = clean.listing()
    clean.run(SCRIPT, "install", "cache")
    assert clean.listing() != before
    assert clean.run(SCRIPT, "uninstall").returncode == 0
    assert clean.listing() == before


def test_others_stay(clean: "Machine") -> None:
    """Drop-ins of others are neither edited nor removed."""
    clean.write(OTHER, CORPORATE)
    before = clean.listing()
    clean.run(SCRIPT, "install", "cache")
    assert clean.listing().keys() - before.keys() == {DROPIN}
    clean.run(SCRIPT, "uninstall")
    assert clean.listing() == before


def test_install_twice(clean: "Machine") -> None:
    """A second install changes nothing and says so."""
    clean.write(OTHER, CORPORATE)
    clean.run(SCRIPT, "install", "cache", "--no-proxy", "a.example")
    before = clean.listing()
    again = clean.run(SCRIPT, "install", "cache", "--no-proxy", "a.example")
    assert (again.returncode, clean.listing()) == (0, before)
    assert "as it should be already" in again.stdout


def test_uninstall_nothing(clean: "Machine") -> None:
    """Where nothing is installed, uninstall does nothing and is content."""
    before = clean.listing()
    assert clean.run(SCRIPT, "uninstall").returncode == 0
    assert clean.listing() == before


def test_uninstall_another(clean: "Machine") -> None:
    """Uninstall of another proxy than the one set leaves it alone."""
    clean.run(SCRIPT, "install", "cache")
    before = clean.listing()
    refused = clean.run(SCRIPT, "uninstall", "elsewhere")
    assert (refused.returncode, clean.listing()) == (1, before)
    assert "names http://cache:3128" in refused.stderr


@pytest.mark.parametrize("unit", ["containerd", "containerd.service"])
def test_unit(clean: "Machine", unit: str) -> None:
    """Another unit gets its own drop-in."""
    clean.run(SCRIPT, "install", "cache", "--unit", unit)
    path = "/etc/systemd/system/containerd.service.d/zz-entrepot.conf"
    assert settings(clean, path)["HTTPS_PROXY"] == "http://cache:3128"


def test_no_unit(clean: "Machine") -> None:
    """What is not a unit never becomes a path."""
    before = clean.listing()
    refused = clean.run(SCRIPT, "install", "cache", "--unit", "../../x")
    assert (refused.returncode, clean.listing()) == (1, before)


def test_secret(clean: "Machine") -> None:
    """A drop-in with a password is for root alone, and the password is not printed."""
    done = clean.run(SCRIPT, "install", "http://u:s3cret@cache")
    assert stat.S_IMODE(clean.at(DROPIN).stat().st_mode) == 0o600
    assert "s3cret" not in done.stdout + clean.run(SCRIPT, "check").stdout


def test_no_secret(clean: "Machine") -> None:
    """One without a password can be read by all, as systemd's own tools want it."""
    clean.run(SCRIPT, "install", "http://u:s3cret@cache")
    clean.run(SCRIPT, "install", "cache")
    assert stat.S_IMODE(clean.at(DROPIN).stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("existing", "option", "expected"),
    [
        ("Environment=NO_PROXY=a.b,localhost", None, "localhost,127.0.0.0/8,::1,a.b"),
        ("Environment=no_proxy=a.b", None, "localhost,127.0.0.0/8,::1,a.b"),
        ('Environment="X=1" "NO_PROXY=a.b, c.d"', "e.f", f"{LOCAL},e.f,a.b,c.d"),
        ("Environment=X=1 \\\n  NO_PROXY=a.b", "e.f", f"{LOCAL},e.f,a.b"),
        ("Environment=NO_PROXY=a.b\nEnvironment=NO_PROXY=c.d", "e.f", f"{LOCAL},e.f,c.d"),
        ("Environment=NO_PROXY=a.b\nEnvironment=", "e.f", f"{LOCAL},e.f"),
        ("#Environment=NO_PROXY=a.b", "e.f", f"{LOCAL},e.f"),
        ("[Unit]\nEnvironment=NO_PROXY=a.b", "::1,e.f", f"{LOCAL},e.f"),
    ],
)
def test_no_proxy(clean: "Machine", existing: str, option: str | None, expected: str) -> None:
    """NO_PROXY is localhost, what was asked for and what the unit had, read as systemd does."""
    clean.write(OTHER, f"[Service]\n{existing}\n")
    clean.run(SCRIPT, "install", "cache", *(["--no-proxy", option] if option else []))
    assert settings(clean)["NO_PROXY"] == expected


def test_shadowed_dropin(clean: "Machine") -> None:
    """Of two drop-ins of one name only the one in /etc counts, as for systemd."""
    clean.write("/run/systemd/system/docker.service.d/a.conf", "[Service]\nEnvironment=NO_PROXY=a")
    clean.write(f"{FOLDER}/a.conf", "[Service]\nEnvironment=NO_PROXY=b\n")
    clean.run(SCRIPT, "install", "cache", "--no-proxy", "x")
    assert settings(clean)["NO_PROXY"] == f"{LOCAL},x,b"


def test_overruled(clean: "Machine") -> None:
    """A proxy set by another drop-in is overruled: which file, and what to do, is said."""
    clean.write(OTHER, CORPORATE)
    done = clean.run(SCRIPT, "install", "cache")
    assert done.returncode == 0
    assert f"{OTHER} sets HTTPS_PROXY=http://***@corp.example:8080" in done.stdout
    assert "--upstream-proxy" in done.stdout


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"{FOLDER}/zzz.conf", CORPORATE),
        (f"{FOLDER}/zzz.conf", "[Service]\nEnvironment=\n"),
        (f"{FOLDER}/a.conf", "[Service]\nEnvironmentFile=-/etc/default/proxy.conf\n"),
    ],
)
def test_beaten(clean: "Machine", path: str, text: str) -> None:
    """Where a setting of others would beat ours, install refuses and names the file."""
    clean.write("/etc/default/proxy.conf", 'HTTPS_PROXY="http://corp.example"\n')
    clean.write(path, text)
    before = clean.listing()
    refused = clean.run(SCRIPT, "install", "cache")
    assert (refused.returncode, clean.listing()) == (1, before)
    assert ("/etc/default/proxy.conf" if "File" in text else path) in refused.stderr


def test_without_systemd(clean: "Machine") -> None:
    """Where systemd does not run, install says what to run once it does."""
    done = clean.run(SCRIPT, "install", "cache")
    assert "Next: systemctl daemon-reload && systemctl restart docker" in done.stdout


@pytest.fixture
def booted(clean: "Machine") -> "Machine":
    """A machine with systemd."""
    clean.at("/run/systemd/system").mkdir(parents=True)
    return clean


@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_reload(booted: "Machine", tmp_path: Path, action: str) -> None:
    """Systemd is told to read its files again, and nothing is restarted."""
    booted.write(DROPIN, "[Service]\n")
    booted.program("systemctl", f'echo "$*" >>{tmp_path / "told"}')
    done = booted.run(SCRIPT, action, "cache") if action == "install" else None
    done = done or booted.run(SCRIPT, action)
    assert (tmp_path / "told").read_text() == "daemon-reload\n"
    assert "Next: systemctl restart docker" in done.stdout


@pytest.mark.parametrize("listed", [".docker.io", "*", "ghcr.io:443"])
def test_a_registry_that_would_bypass_the_cache(clean: "Machine", listed: str) -> None:
    """Install does as it is told, and says which registries go past the cache by it."""
    done = clean.run(SCRIPT, "install", "cache", "--no-proxy", listed)
    assert done.returncode == 0
    assert f"bypasses the cache: NO_PROXY has '{listed}'" in done.stdout
    assert "bypasses" not in clean.run(SCRIPT, "install", "cache").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        *((), ("start",), ("install",), ("install", "a", "b"), ("install", "a", "--unit")),
        *(("install", "a", "--image", "b"), ("--nothing",)),
    ],
)
def test_usage(clean: "Machine", arguments: tuple[str, ...]) -> None:
    """A command line that makes no sense shows the usage, with status 2."""
    shown = clean.run(SCRIPT, *arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "usage: " in shown.stderr

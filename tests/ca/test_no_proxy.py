"""scripts/client/no_proxy.sh: which hosts NO_PROXY keeps from the proxy, as Go reads it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from entrepot.protocol.identifiers import Origin
from entrepot.protocol.quirks import is_well_known

PART = Path(__file__).parents[2] / "scripts" / "client" / "no_proxy.sh"
HUB = "registry-1.docker.io"


@pytest.fixture(params=["dash", "busybox"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """A shell with the awk of its distribution."""
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not installed")
    awk = found if request.param == "busybox" else shutil.which("awk")
    (tmp_path / "awk").symlink_to(str(awk))
    words = [found, "sh"] if request.param == "busybox" else [found]
    return ["env", f"PATH={tmp_path}", *words, "-c", f'. {PART}; exemption "$@"', "part"]


# As golang.org/x/net/http/httpproxy's own tests and documentation have it.
@pytest.mark.parametrize(
    ("host", "port", "listed", "entry"),
    [
        (HUB, 443, "", ""),
        (HUB, 443, HUB, HUB),
        (HUB, 443, "Registry-1.Docker.IO", HUB),
        (HUB, 443, "docker.io", "docker.io"),
        (HUB, 443, ".docker.io", ".docker.io"),
        (HUB, 443, "*.docker.io", "*.docker.io"),
        (HUB, 443, "io", "io"),
        (HUB, 443, "localhost, .docker.io ,x", ".docker.io"),
        (HUB, 443, "*", "*"),
        (HUB, 443, "a.example,*,b.example", "*"),
        (HUB, 443, f"{HUB}:443", f"{HUB}:443"),
        (HUB, 443, ".docker.io:443", ".docker.io:443"),
        (HUB, 443, f"{HUB}:5000", ""),
        (HUB, 443, "*:443", ""),
        (HUB, 443, "*docker.io", ""),
        (HUB, 443, "r-1.docker.io", ""),
        (HUB, 443, f".{HUB}", ""),
        (HUB, 443, f"https://{HUB}", ""),
        (HUB, 443, "0.0.0.0/0,::/0", ""),
        (HUB, 443, ":443", ""),
        (HUB, 443, ",, ,", ""),
        (HUB, 443, "localhost,127.0.0.0/8,::1", ""),
        ("registry.corp", 5000, "registry.corp:5000", "registry.corp:5000"),
        ("registry.corp", 5000, "registry.corp:500", ""),
        ("10.1.2.3", 5000, "10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3", 5000, "10.1.2.3", "10.1.2.3"),
        ("10.1.2.3", 5000, "10.1.2.3:5000", "10.1.2.3:5000"),
        ("10.1.2.3", 5000, "10.1.2.3:443", ""),
        ("10.1.2.3", 5000, "10.1.2.0/25", "10.1.2.0/25"),
        ("10.1.2.203", 5000, "10.1.2.0/25", ""),
        ("10.1.2.3", 5000, "10.0.0.0/33", ""),
        ("10.1.2.3", 5000, "10.1.2.256", ""),
        ("10.1.2.3", 5000, "2.3", ""),
        ("10.1.2.3", 5000, "0.0.0.0/0", "0.0.0.0/0"),
        ("fd00::7", 443, "fd00::/8", "fd00::/8"),
        ("fd00::7", 443, "[fd00:0:0::7]:443", "[fd00:0:0::7]:443"),
        ("fd00::7", 443, "fd00::0007", "fd00::0007"),
        ("fd00::7", 443, "[fd00::7]", ""),
        ("fd00::7", 443, "fe80::/10", ""),
        ("127.0.0.9", 443, "", "loopback"),
        ("::1", 443, "", "loopback"),
        ("localhost", 5000, "", "loopback"),
    ],
)
def test_the_entry_that_exempts(
    shell: list[str], host: str, port: int, listed: str, entry: str
) -> None:
    """It is the first that Go's rules take, and nothing where the request goes to the proxy."""
    done = subprocess.run(
        [*shell, host, str(port), listed], check=True, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == (entry, "")


def test_the_registries_are_well_known_to_the_proxy() -> None:
    """What the script looks for are registries, or token servers, by the proxy's own word."""
    found = re.search(r"WELL_KNOWN='([^']*)'", PART.read_text())
    assert found
    names = found[1].split()
    assert {HUB, "ghcr.io", "quay.io"} <= set(names)
    assert [name for name in names if not is_well_known(Origin("https", name, 443))] == []

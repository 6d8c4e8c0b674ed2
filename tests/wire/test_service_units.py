"""The units for systemd, as systemd itself reads them."""

import re
import subprocess
from pathlib import Path

import pytest

from entrepot.config.settings import Config
from rig.needs import need
from rig.process import clean_environment, program

UNITS = Path(__file__).parents[2] / "deploy/systemd"
SERVICE, SOCKET = "entrepot.service", "entrepot.socket"
MOST_EXPOSED = {"entrepot.service": 1.2, "entrepot-redirect.service": 3.0}
"""As systemd-analyze of Debian 12 counts; 10 is a service that may do everything."""


def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    """But for the program, which is not installed where the unit says."""
    need("systemd-analyze")
    for name in (SERVICE, SOCKET):
        text = (UNITS / name).read_text()
        (tmp_path / name).write_text(re.sub("(?m)^ExecStart=.*", "ExecStart=/bin/true", text))
    assert _analyze(tmp_path, "verify", tmp_path / SOCKET, tmp_path / SERVICE) == ""


@pytest.mark.parametrize("name", MOST_EXPOSED)
def test_a_service_is_confined(tmp_path: Path, name: str) -> None:
    """No less than docs/deployment.md says."""
    need("systemd-analyze")
    said = _analyze(tmp_path, "security", "--offline=true", "--no-pager", UNITS / name)
    found = re.search(rf"Overall exposure level for {name}: (\S+)", said)
    assert found is not None, said
    assert float(found[1]) <= MOST_EXPOSED[name]


def test_they_agree_with_the_defaults(tmp_path: Path) -> None:
    """The socket is that of --listen, and systemd does not kill a stop that drains."""
    config = Config(data=tmp_path)
    streams = re.findall("(?m)^ListenStream=(.*)$", (UNITS / SOCKET).read_text())
    assert streams == [f"{host}:{config.listen.port}" for host in ("0.0.0.0", "[::]")]  # noqa: S104
    (seconds,) = re.findall("(?m)^TimeoutStopSec=(.*)$", (UNITS / SERVICE).read_text())
    assert float(seconds) >= config.drain + 5


def _analyze(folder: Path, *words: str | Path) -> str:
    finished = subprocess.run(
        [program("systemd-analyze"), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environment(folder),
    )
    return finished.stdout + finished.stderr

"""The scripts that one copies to clients: made from scripts/client, each whole in itself."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "scripts" / "build-client-scripts"
MADE = ("ca/install.sh", "scripts/docker-proxy.sh", "scripts/containerd-mirror.sh")


@pytest.mark.parametrize("script", MADE)
def test_is_what_its_source_makes(tmp_path: Path, script: str) -> None:
    """The script is what scripts/build-client-scripts makes of its source, which it names."""
    subprocess.run([BUILD, tmp_path], check=True)
    made = (tmp_path / script).read_text()
    assert (ROOT / script).read_text() == made, f"run {BUILD.relative_to(ROOT)}"
    source = f"scripts/client/{Path(script).name}.in"
    assert f"from {source}: change it there" in made.splitlines()[1]
    assert (ROOT / source).is_file()


@pytest.mark.parametrize("script", MADE)
def test_needs_no_file_beside_it(tmp_path: Path, script: str) -> None:
    """A single copy, away from the checkout, starts and shows its usage."""
    copy = tmp_path / Path(script).name
    shutil.copy(ROOT / script, copy)
    usage = subprocess.run([copy], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (usage.returncode, usage.stdout) == (2, "")
    assert usage.stderr.startswith(f"usage: {copy} install ")
    assert "# include: " not in copy.read_text()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", MADE)
def test_shellcheck(script: str) -> None:
    """The script is plain POSIX shell."""
    command = ["shellcheck", "--shell=sh", str(ROOT / script)]
    assert subprocess.run(command, check=False, capture_output=True, text=True).stdout == ""


@pytest.mark.parametrize(
    "source", sorted((ROOT / "scripts" / "client").iterdir()), ids=lambda path: path.name
)
def test_each_source_is_used(source: Path) -> None:
    """What is in scripts/client is one of the scripts, or a part of one."""
    scripts = [ROOT / "scripts" / "client" / f"{Path(script).name}.in" for script in MADE]
    lines = [line for script in scripts for line in script.read_text().splitlines()]
    assert source in scripts or f"# include: {source.name}" in lines

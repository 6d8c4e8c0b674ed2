"""The scripts that one copies to clients: made from scripts/client, each whole in itself."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "scripts" / "build-client-scripts"
SETUP = "addon/entrepot/endpoints/setup/texts/setup.sh"
MADE = ("ca/install.sh", "scripts/docker-proxy.sh", "scripts/containerd-mirror.sh", SETUP)
BASH = ("build-client-scripts", "newer-clients", "docs", "test")


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
    command = [str(copy), *(["--nothing"] if script == SETUP else [])]
    usage = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (usage.returncode, usage.stdout) == (2, "")
    asked = "usage: curl " if script == SETUP else f"usage: {copy} install "
    assert asked in usage.stderr
    assert "# include: " not in copy.read_text()


HELPFUL = (*MADE, "scripts/redirect.sh", *(f"scripts/{name}" for name in BASH))


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("check", "--help")])
@pytest.mark.parametrize("script", HELPFUL)
def test_help_is_no_error(tmp_path: Path, script: str, words: tuple[str, ...]) -> None:
    """Who asks for help gets it on standard output, with status 0, and nothing else happens."""
    if script.rpartition("/")[2] in BASH and len(words) > 1:
        words = words[-1:]
    command = [str(ROOT / script), *words]
    shown = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert Path(script).name in shown.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", [*MADE, "scripts/redirect.sh", *BASH[:2]])
def test_a_wrong_option_is_an_error(tmp_path: Path, script: str) -> None:
    """What is no option shows the usage on standard error, with status 2."""
    path = ROOT / script if "/" in script else ROOT / "scripts" / script
    command = [str(path), "--nothing"]
    shown = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "usage: " in shown.stderr
    assert list(tmp_path.iterdir()) == []


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

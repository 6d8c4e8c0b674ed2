"""scripts/venv.sh, by which scripts/run finds a Python: one that the user of a service can run."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.needs import need_root
from rig.process import PATH

ROOT = Path(__file__).parents[1]
SYSTEM = Path("/usr/bin/python3")
FIND = ". scripts/venv.sh && find_python python3.98 python3.97"


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A checkout that everybody can read, with two Pythons beside it."""
    need_root()
    if not SYSTEM.exists() or _run(
        "import sys, venv, ensurepip; assert sys.version_info >= (3, 11)"
    ):
        pytest.skip(f"{SYSTEM} is not there, too old or cannot make environments")
    folder = Path(tempfile.mkdtemp(prefix="rig-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "scripts").mkdir(mode=0o755)
    shutil.copy(ROOT / "scripts/venv.sh", folder / "scripts")
    for name in ("python3.98", "python3.97"):
        (folder / name).mkdir()
        python = folder / name / name
        python.write_text(f'#!/bin/sh\nexec {SYSTEM} "$@"\n')
        for path in (folder / name, python):
            path.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def _run(code: str) -> int:
    return subprocess.run([SYSTEM, "-c", code], check=False, capture_output=True).returncode


def find(checkout: Path, *, for_all: bool) -> tuple[str, str]:
    """The name of the Python that is found, and what is said of it."""
    path = ":".join(str(checkout / name) for name in ("python3.98", "python3.97"))
    finished = subprocess.run(
        ["bash", "-c", f"{'for_all=1; ' if for_all else ''}{FIND}"],
        cwd=checkout,
        env={"PATH": f"{path}:{PATH}", "PYENV_ROOT": str(checkout / "none")},
        check=True,
        capture_output=True,
        text=True,
    )
    return Path(finished.stdout.strip()).name, finished.stderr


def test_the_newest_is_taken_where_all_can_run_it(checkout: Path) -> None:
    assert find(checkout, for_all=True) == ("python3.98", "")


def test_one_that_only_root_can_read_is_passed_over(checkout: Path) -> None:
    """And that is said; scripts/test, which is for who runs it, takes it."""
    closed = checkout / "python3.98"
    closed.chmod(0o700)
    found, said = find(checkout, for_all=True)
    assert found == "python3.97"
    assert said == (
        f"Not with {closed / 'python3.98'}: only root can read it, no service of another user\n"
    )
    assert find(checkout, for_all=False) == ("python3.98", "")


def test_where_there_is_no_other_it_is_said(checkout: Path) -> None:
    for name in ("python3.98", "python3.97"):
        (checkout / name / name).chmod(0o700)
    found, said = find(checkout, for_all=True)
    assert found == "python3.98"
    assert "as a service, the proxy has to run as root, or needs another Python" in said


def test_of_a_checkout_that_only_root_can_read_nothing_is_asked(checkout: Path) -> None:
    (checkout / "python3.98").chmod(0o700)
    checkout.chmod(0o700)
    assert find(checkout, for_all=True) == ("python3.98", "")


def test_a_service_of_another_user_runs_what_is_found(checkout: Path) -> None:
    """What is taken for readable is so to `nobody`, and what is not is not."""
    (checkout / "python3.98").chmod(0o700)
    for name, status in (("python3.97", 0), ("python3.98", 126)):
        python = checkout / name / name
        as_nobody = ["setpriv", "--reuid=65534", "--clear-groups", "--", "sh", "-c", f"{python} -V"]
        finished = subprocess.run(as_nobody, check=False, capture_output=True)
        assert finished.returncode == status

"""Fixtures: what deploy/ has, built and run for real."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rig.clients import Dockerd
from rig.command import check
from rig.debian import as_image, debian_copy, need_debian, run_in
from rig.disk import overlay_works
from rig.needs import need
from rig.route import Direct

ROOT = Path(__file__).parents[2]
PACKAGED = (
    *("addon", "ca", "deploy", "docs", "scripts"),
    *("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"),
)
BASE, IMAGE = "entrepot-test-base", "entrepot"


@pytest.fixture(scope="session")
def daemon(rig_folder: Path) -> Iterator[Dockerd]:
    """A daemon with the image of deploy/Dockerfile, built on a small Debian without a network."""
    need("dockerd", "docker", "unshare", "runc", "tar")
    need_debian()
    folder = rig_folder / "deploy"
    folder.mkdir()
    driver = "overlay2" if overlay_works(folder / "overlay") else "vfs"
    daemon = Dockerd(folder / "docker", Direct(folder), storage_driver=driver)
    with ExitStack() as stack:
        stack.callback(daemon.stop)
        daemon.start()
        as_image(daemon, BASE)
        words = ("--network=none", f"--build-arg=BASE={BASE}", f"--tag={IMAGE}")
        file = f"--file={ROOT / 'deploy/Dockerfile'}"
        check(daemon.cli.run("build", *words, file, ROOT, timeout=400))
        yield daemon


@pytest.fixture(scope="session")
def package(rig_folder: Path) -> Path:
    """The Debian package, built by its script on a small Debian without a network."""
    need("unshare", "dpkg-deb")
    need_debian()
    with debian_copy(rig_folder / "build") as tree:
        source = tree / "src"
        source.mkdir()
        for name in PACKAGED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, source / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, source)
        said = check(run_in(tree, "/src/deploy/debian/build", "/out", timeout=300)).strip()
        return Path(shutil.copy(tree / said.removeprefix("/"), rig_folder))

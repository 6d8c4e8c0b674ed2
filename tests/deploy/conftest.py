"""Fixtures: what deploy/ has, built and run for real."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rig.clients import Dockerd
from rig.command import check
from rig.debian import as_image, need_debian
from rig.disk import overlay_works
from rig.needs import need
from rig.route import Direct

ROOT = Path(__file__).parents[2]
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

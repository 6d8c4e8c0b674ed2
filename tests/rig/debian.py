"""A small Debian to try deployments in, made by `scripts/debian-tree`; each test takes a copy."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rig.clients import Dockerd
from rig.command import Finished
from rig.disk import overlay_works
from rig.needs import need_root
from rig.process import clean_environment, program

TREE = Path(__file__).parents[2] / ".debian"


def need_debian() -> None:
    """Skip the test where the tree is not there."""
    need_root()
    if not (TREE / "wheels/requirements.txt").exists():
        pytest.skip("no small Debian to try it in: scripts/debian-tree")


@contextmanager
def debian_copy(folder: Path) -> Iterator[Path]:
    """A tree of one's own: what is written there is gone afterwards."""
    folder.mkdir(parents=True)
    if not overlay_works(folder / "tried"):
        subprocess.run([program("cp"), "-a", TREE, folder / "merged"], check=True)
        yield folder / "merged"
        return
    layers = {name: folder / name for name in ("upper", "work", "merged")}
    for layer in layers.values():
        layer.mkdir()
    options = f"lowerdir={TREE},upperdir={layers['upper']},workdir={layers['work']}"
    mount = [program("mount"), "-t", "overlay", "-o", options, "rig", str(layers["merged"])]
    subprocess.run(mount, check=True)
    try:
        yield layers["merged"]
    finally:
        subprocess.run([program("umount"), "--lazy", layers["merged"]], check=True)


def run_in(tree: Path, *words: str, timeout: float = 120) -> Finished:
    """Run a command in a tree, in mount and network namespaces of its own."""
    script = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$@"'
    unshare = [program("unshare"), "--mount", "--net", "--pid", "--fork", "--propagation=private"]
    return subprocess.run(
        [*unshare, "sh", "-c", script, "sh", str(tree), *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=clean_environment(Path("/root"), DEBIAN_FRONTEND="noninteractive"),
    )


def as_image(dockerd: Dockerd, name: str) -> None:
    """Give the tree to a daemon as an image: Python on Debian, as of python:slim."""
    tar = [program("tar"), "-C", str(TREE), "-c", "."]
    with subprocess.Popen(tar, stdout=subprocess.PIPE) as packing:
        dockerd.cli.feed(packing.stdout, "import", "-", name)
        assert packing.wait() == 0

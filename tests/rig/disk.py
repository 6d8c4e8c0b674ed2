"""File systems: a small one, for what happens when there is no room, and overlays."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig.process import program


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount an empty file system of `size` bytes at a new folder (root only)."""
    folder.mkdir(parents=True)
    options = f"size={size},mode=0700"
    subprocess.run([program("mount"), "-t", "tmpfs", "-o", options, "rig", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run([program("umount"), "--lazy", folder], check=True)


def overlay_works(folder: Path) -> bool:
    """Whether overlays can be mounted over folders here (not inside many containers)."""
    layers = {name: folder / name for name in ("lower", "upper", "work", "merged")}
    for layer in layers.values():
        layer.mkdir(parents=True)
    options = "lowerdir={lower},upperdir={upper},workdir={work}".format(**layers)
    mount = [program("mount"), "-t", "overlay", "-o", options, "rig", str(layers["merged"])]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return False
    subprocess.run([program("umount"), layers["merged"]], check=True)
    return True

"""Killed in the middle of an import: the store is sound, and the import can be asked for again."""

import random
import subprocess
import threading
from typing import TYPE_CHECKING

from attack.datafolder import examine
from rig.cached import command, told
from rig.images import KIB, ImageFactory
from rig.process import clean_environment
from rig.proxy import PYTHON, Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

ROUNDS, IMAGES, LAYERS = 4, 4, 12
HOST = "hub.example.test"


def started(entrepot: Entrepot, file: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [PYTHON, "-m", "entrepot.cli", "import", file, "--data", str(entrepot.data)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=entrepot.folder,
        env=clean_environment(entrepot.folder),
    )


def test_kill_9_in_an_import(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    images: ImageFactory,
    attack_seed: str,
) -> None:
    """Of the proxy or of the command: no image appears that is not whole."""
    rng = random.Random(attack_seed)  # noqa: S311 - an attack is to be repeated
    made = {
        f"{HOST}/crash/import:{n}": images.image(f"import-{n}", [40 * KIB] * LAYERS)
        for n in range(IMAGES)
    }
    for name, image in made.items():
        upstreams.push(image, name)
    first = start_entrepot()
    assert told(first, "warm", *made)["failed"] == 0
    for image in made.values():
        first.await_stored(blob.digest for blob in image.blobs)
    file = str(first.folder / "crash.tar")
    assert command(first, "export", *made, "-o", file).returncode == 0
    entrepot = start_entrepot(resolve=[], offline=True)
    for number in range(ROUNDS):
        running = started(entrepot, file)
        threading.Event().wait(rng.uniform(0.4, 1.2))
        if number % 2:
            entrepot.kill9()
            running.wait(60)
            entrepot.start()
            entrepot.await_put_right()
        else:
            running.kill()
            running.wait(60)
        assert all(one["complete"] for one in told(entrepot, "ls")["images"])
    taken = told(entrepot, "import", file)
    assert [one["name"] for one in taken["images"]] == list(made)
    assert len(told(entrepot, "ls")["images"]) == len(made)
    entrepot.restart()
    assert examine(entrepot.data).problems == []

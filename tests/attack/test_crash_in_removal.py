"""Killed in the middle of a removal: the store is sound, and the removal can be asked for again."""

import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING, Any

from attack.datafolder import examine
from entrepot.control.client import connected
from rig.client import Client
from rig.images import KIB, Image, ImageFactory
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

ROUNDS, IMAGES, LAYERS = 8, 4, 12
HOST = "hub.example.test"
STAYS = f"{HOST}/crash/stays:1"


def ask(entrepot: Entrepot, **request: object) -> dict[str, Any]:
    with connected(entrepot.data) as answer:
        assert answer is not None
        return answer(request)


def pull(client: Client, name: str, image: Image) -> set[str]:
    """Pull an image; what the cache did for its blobs."""
    repository, _, tag = name.removeprefix(f"{HOST}/").rpartition(":")
    base = f"https://{HOST}/v2/{repository}"
    assert client.manifest(f"{base}/manifests/{tag}").body == image.root.body
    answers = [client.get(f"{base}/blobs/{blob.digest}") for blob in image.blobs]
    assert [one.body for one in answers] == [blob.read() for blob in image.blobs]
    return {one.cache_status for one in answers}


def test_kill_9_in_a_removal(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    images: ImageFactory,
    attack_seed: str,
) -> None:
    """Rows have their files and files their rows; what stays is whole, whatever the moment."""
    rng = random.Random(attack_seed)  # noqa: S311 - an attack is to be repeated
    goes = {
        f"{HOST}/crash/goes:{number}": images.image(f"goes-{number}", [4 * KIB] * LAYERS)
        for number in range(IMAGES)
    }
    made = {**goes, STAYS: images.image("stays", [4 * KIB] * LAYERS)}
    for name, image in made.items():
        upstreams.push(image, name)
    entrepot = start_entrepot()
    broken_off = 0
    for number in range(ROUNDS):
        for name, image in made.items():
            pull(entrepot.client(), name, image)
            entrepot.await_stored(blob.digest for blob in image.blobs)
        removal = threading.Thread(target=_removed, args=(entrepot,))
        removal.start()
        time.sleep(rng.uniform(0, 0.12))  # at any time
        entrepot.kill9()
        removal.join(30)
        entrepot.start()
        entrepot.await_put_right()
        try:
            assert examine(entrepot.data).problems == []
            found = {
                name: one["complete"]
                for one in ask(entrepot, do="images")["images"]
                for name in one["names"]
            }
            assert found.pop(STAYS) is True
            broken_off += 0 < len(found) < IMAGES or False in found.values()
            assert found.keys() <= goes.keys()
            if found:
                assert ask(entrepot, do="remove", names=[f"{HOST}/crash/goes"])["ok"]
            assert len(ask(entrepot, do="images")["images"]) == 1
            assert pull(entrepot.client(), STAYS, made[STAYS]) == {"entrepot; hit"}
        except Exception as error:
            error.add_note(f"in round {number} of --attack-seed {attack_seed}")
            raise
    print({"broken off": broken_off})  # noqa: T201 - shown by pytest -s


def _removed(entrepot: Entrepot) -> None:
    with contextlib.suppress(OSError):
        ask(entrepot, do="remove", names=[f"{HOST}/crash/goes"])

"""What is damaged at rest is found, set aside and told; what is sound stays where it is."""

import os
from pathlib import Path
from typing import Any

import pytest

from entrepot.control.administration import Administration
from entrepot.events.log import Events
from entrepot.maintenance.verification import Verification
from entrepot.protocol.identifiers import Digest
from entrepot.storage.diskcache_db import resting_objects
from entrepot.storage.diskcache_db.resting_objects import StoredObject
from entrepot.storage.store import Store
from unit.storage.inventory.world import image, listed, pull
from unit.storage.world import APP, SIBLING, content, deliver, value_files

BASE, TOP = b"base" * 1000, b"top" * 700
ONE, TWO = image(BASE, TOP), image(BASE, b"other")
NAME = "registry.example.test/team/app:1"


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = Store(tmp_path / "data", 10**7)
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, TWO, "2")
    yield store
    store.close()


@pytest.fixture
def administration(store: Store) -> Administration:
    return Administration(store, lambda function: function(), Events())


def file_of(store: Store, blob: bytes) -> Path:
    """The file in which a blob is stored."""
    (found,) = [path for path in value_files(store.folder) if path.read_bytes() == blob]
    return found


def verified(administration: Administration, *names: str) -> list[dict[str, Any]]:
    """What is said to be damaged, once all is verified."""
    page = administration.answer({"do": "objects", "names": list(names)})
    assert page["ok"], page
    objects, damaged = page["objects"], []
    assert (page["count"], page["next"]) == (len(objects), None)
    assert page["size"] == sum(one["size"] for one in objects)
    while objects:
        step = administration.answer({"do": "verify", "objects": objects})
        objects = objects[step["done"] :]
        damaged += step["damaged"]
    return damaged


def test_what_is_sound_is_left_alone(store: Store, administration: Administration) -> None:
    files = value_files(store.folder)
    used = {name: one.used for name, one in listed(store).items()}
    assert verified(administration) == []
    assert value_files(store.folder) == files
    assert {name: one.used for name, one in listed(store).items()} == used
    assert not (store.folder / "quarantine").exists()


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "grown", "missing"])
def test_a_damaged_blob_is_set_aside_and_told(
    store: Store, administration: Administration, damage: str
) -> None:
    """With the images that it was part of; these are incomplete then."""
    path = file_of(store, BASE)
    wrong = {"flipped": b"Base" + BASE[4:], "cut": BASE[:-1], "emptied": b"", "grown": BASE + b"x"}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(wrong[damage])
    (found,) = verified(administration)
    digest = str(Digest.of(BASE))
    assert (found["kind"], found["digest"], found["registry"]) == ("blob", digest, None)
    assert found["images"] == [NAME, "registry.example.test/team/sibling:2"]
    assert found["reason"]
    if damage == "missing":
        assert found["moved_to"] is None
    else:
        kept = Path(found["moved_to"])
        assert kept == store.folder / "quarantine" / digest.replace(":", "-")
        assert (kept.read_bytes(), kept.stat().st_mode & 0o077) == (wrong[damage], 0)
    assert content(store, APP, Digest.of(BASE)) is None
    assert not any(one.complete for one in listed(store).values())
    assert verified(administration) == []


def test_a_damaged_manifest_is_set_aside(store: Store, administration: Administration) -> None:
    """Whether it is in its row or in a file."""
    sql = store._blob_cache._sql  # noqa: SLF001 as a disk that rots
    sql("UPDATE Cache SET value = ? WHERE key LIKE ?", (b"{}", f"manifest % {ONE.digest}"))
    (found,) = verified(administration)
    assert (found["kind"], found["registry"]) == ("manifest", "https://registry.example.test")
    assert Path(found["moved_to"]).read_bytes() == b"{}"
    assert store.manifests.find(APP, ONE.digest) is None
    large = image(*(b"%d" % number for number in range(700)))
    pull(store, APP, large, "large")
    file_of(store, large.content).write_bytes(large.content[:-1] + b" ")
    assert [one["digest"] for one in verified(administration)] == [str(large.digest)]


def test_named_images_alone_are_looked_at(store: Store, administration: Administration) -> None:
    file_of(store, b"other").write_bytes(b"OTHER")
    assert verified(administration, NAME) == []
    assert len(verified(administration, "registry.example.test/team/sibling")) == 1
    refused = administration.answer({"do": "objects", "names": ["redis:7"]})
    assert refused["code"] == "not_cached"


def test_what_was_replaced_meanwhile_stays(store: Store) -> None:
    """A pull that fetched it again was faster than who found it damaged."""
    wanted = StoredObject(Digest.of(TOP))
    file_of(store, TOP).write_bytes(b"damaged")
    found = store.resting.look(wanted)
    assert isinstance(found, resting_objects.Resting)
    assert found.file is not None
    pull(store, APP, ONE, "1")
    assert store.resting.set_aside(wanted, found, "damaged") is None
    os.close(found.file)
    assert content(store, APP, Digest.of(TOP)) == TOP


def test_what_is_gone_is_no_damage(store: Store) -> None:
    step = Verification(store, lambda function: function()).step([StoredObject(Digest.of(b"?"))])
    assert (step.done, step.gone, step.damaged) == (1, 1, [])


def test_the_quarantine_is_bounded(
    store: Store, administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came first goes first."""
    monkeypatch.setattr(resting_objects, "_MOST_BYTES", 5000)
    for blob in (BASE, TOP):
        file_of(store, blob).write_bytes(blob.upper())
    for blob in (BASE, TOP):
        request = {"do": "verify", "objects": [{"digest": str(Digest.of(blob))}]}
        assert len(administration.answer(request)["damaged"]) == 1
    left = [path.read_bytes() for path in (store.folder / "quarantine").iterdir()]
    assert left == [TOP.upper()]


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "verify"},
        {"do": "verify", "objects": []},
        {"do": "verify", "objects": ["blob"]},
        {"do": "verify", "objects": [{"digest": "../../etc"}]},
        {"do": "verify", "objects": [{"digest": str(Digest.of(b"")), "registry": 7}]},
        {"do": "verify", "objects": [{"digest": str(Digest.of(b"")), "registry": "ftp://x"}]},
        {"do": "objects", "limit": 1001},
    ],
)
def test_a_wrong_request_is_told_so(administration: Administration, request_: Any) -> None:
    assert administration.answer(request_)["code"] == "bad_request"


def test_a_large_object_is_hashed_in_steps(store: Store) -> None:
    """So that whoever asks sees how far it is; what is written between two steps begins anew."""
    body = bytes(range(256)) * 12_288  # 3 MiB
    digest = deliver(store, APP, body)
    wanted, check = [StoredObject(digest)], Verification(store, lambda function: function())
    steps = [check.step(wanted, seconds=0) for _ in range(2)]
    assert [(one.done, one.size) for one in steps] == [(0, 1 << 20)] * 2
    file_of(store, body).touch()
    again = [check.step(wanted, seconds=0)]
    while not again[-1].done:
        again.append(check.step(wanted, seconds=0))
    assert sum(one.size for one in again) == len(body)
    assert not any(one.damaged for one in again)
    with file_of(store, body).open("r+b") as file:
        file.write(b"x")
    assert check.step(wanted).damaged[0].object == wanted[0]

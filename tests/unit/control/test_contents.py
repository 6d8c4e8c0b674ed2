"""Taking in what an import has read: only right bytes, from its own files, under sound names."""

import logging
from pathlib import Path
from typing import Any

import pytest

from entrepot.control import contents
from entrepot.control.administration import Administration
from entrepot.events.log import Events
from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest
from entrepot.storage.partials.partial_files import import_file
from entrepot.storage.store import Store
from unit.storage.inventory.world import MANIFEST, image, listed
from unit.storage.world import APP, LIMIT, OTHER_REGISTRY, STRANGER, content, linked

ONE = image(b"base" * 99, b"one")
LAYER = b"one"
NAME = "registry.example.test/team/app:1"


@pytest.fixture
def administration(store: Store) -> Administration:
    return Administration(store, lambda function: function(), Events())


def written(store: Store, data: bytes) -> str:
    """A file of an import with these bytes; its name."""
    file, path = import_file(store.folder)
    with open(file, "wb") as out:  # noqa: PTH123 it is a descriptor
        out.write(data)
    return path.name


def request(do: str, digest: Digest, **more: object) -> dict[str, object]:
    return {
        "do": do,
        "registry": str(APP.origin),
        "repository": APP.name,
        "digest": str(digest),
        "media_type": MANIFEST if do == "take_manifest" else "a/b",
        **more,
    }


def take_in(store: Store, administration: Administration, **more: object) -> dict[str, Any]:
    for digest, data in ONE.blobs.items():
        file = written(store, data)
        assert administration.answer(request("take_blob", digest, file=file, **more))["ok"]
    file = written(store, ONE.content)
    assert administration.answer(request("take_manifest", ONE.digest, file=file, **more))["ok"]
    return administration.answer(request("imported", ONE.digest, tag="1", size=7))


def test_an_image_is_taken_in(
    store: Store, administration: Administration, caplog: pytest.LogCaptureFixture
) -> None:
    """As if its registry had given it to anybody, and no other had."""
    with caplog.at_level(logging.INFO, "entrepot"):
        assert take_in(store, administration)["name"] == NAME
    assert "image_imported names=registry.example.test/team/app:1" in caplog.messages[-1]
    (found,) = listed(store).values()
    assert (found.complete, found.tags, found.size) == (True, ("1",), ONE.size)
    assert content(store, APP, Digest.of(LAYER)) == LAYER
    assert content(store, STRANGER, Digest.of(LAYER)) is None
    for digest in ONE.objects():
        assert store.decisions.was_given(APP, digest, ANYONE)
    known = store.hosts.get(APP.origin)
    assert known is not None
    assert known.registry
    assert store.hosts.get(OTHER_REGISTRY) is None


def test_a_private_one_was_given_to_nobody(store: Store, administration: Administration) -> None:
    take_in(store, administration, private=True)
    assert not any(store.decisions.was_given(APP, one, ANYONE) for one in ONE.objects())
    assert linked(store, APP, Digest.of(LAYER)) is True


def test_what_is_here_needs_no_file(store: Store, administration: Administration) -> None:
    """But what is not here does."""
    take_in(store, administration)
    other = {"repository": "team/other"}
    answer = administration.answer({**request("take_blob", Digest.of(LAYER)), **other})
    assert answer == {"ok": True, "more": False}
    missing = administration.answer({**request("take_blob", Digest.of(b"?")), **other})
    assert missing["code"] == "no_room"


def test_wrong_bytes_are_refused(store: Store, administration: Administration) -> None:
    for do in ("take_blob", "take_manifest"):
        file = written(store, b"other")
        answer = administration.answer(request(do, ONE.digest, file=file))
        assert (answer["ok"], answer["code"]) == (False, "damaged")
    assert listed(store) == {}
    unknown = administration.answer(request("imported", ONE.digest, tag="1"))
    assert unknown["code"] == "not_cached"


def test_what_is_larger_than_the_limit_is_refused(
    store: Store, administration: Administration
) -> None:
    data = bytes(LIMIT + 1)
    answer = administration.answer(request("take_blob", Digest.of(data), file=written(store, data)))
    assert answer["code"] == "no_room"


def test_only_files_of_an_import_are_read(
    store: Store, administration: Administration, tmp_path: Path
) -> None:
    """Not what lies elsewhere, whatever leads there."""
    secret = tmp_path / "secret"
    secret.write_bytes(LAYER)
    partial = store.folder / "partial"
    (partial / "push-import-link.part").symlink_to(secret)
    (partial / "push-import-folder.part").mkdir()
    (partial / "other.part").write_bytes(LAYER)
    for name in (
        "push-import-link.part",
        "push-import-folder.part",
        "push-import-none.part",
        "other.part",
        "../../secret",
        "push-import-/../../../secret",
        "push-import-\0",
        str(secret),
    ):
        answer = administration.answer(request("take_blob", Digest.of(LAYER), file=name))
        assert (answer["ok"], answer["code"]) == (False, "bad_request"), name
    assert secret.read_bytes() == LAYER


@pytest.mark.parametrize(
    "wrong",
    [
        {"registry": "ftp://x"},
        {"repository": "../x"},
        {"digest": "sha256:x"},
        {"media_type": None},
        {"tag": "-"},
        {"size": -1},
    ],
)
def test_a_wrong_request_is_told_so(
    store: Store, administration: Administration, wrong: dict[str, object]
) -> None:
    file = written(store, ONE.content)
    for do in ("take_manifest", "imported"):
        answer = administration.answer({**request(do, ONE.digest, file=file), **wrong})
        if do == "imported" or not {"tag", "size"} & wrong.keys():
            assert not answer["ok"]
    assert administration.answer({"do": "locate"})["code"] == "bad_request"


def test_a_large_blob_is_hashed_in_steps(
    store: Store, administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None takes longer than who asks is ready to wait; at the end it is here."""
    monkeypatch.setattr(contents, "_STEP_SECONDS", 0.0)
    data = bytes(range(256)) * 12_288  # 3 MiB
    asked = request("take_blob", Digest.of(data), file=written(store, data))
    answers = [administration.answer(asked)]
    while answers[-1].get("more"):
        answers.append(administration.answer(asked))
    assert answers == [{"ok": True, "more": True}] * 3 + [{"ok": True, "more": False}]
    assert content(store, APP, Digest.of(data)) == data

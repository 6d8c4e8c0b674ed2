"""Blobs: found for whom they were delivered to, whole, and delivered again where damaged."""

import os
from pathlib import Path

import pytest

from entrepot.storage.store import Store
from unit.storage.world import (
    APP,
    DATA,
    DIGEST,
    REGISTRY,
    SIBLING,
    TYPE,
    content,
    deliver,
    linked,
    value_files,
    write,
)


def test_what_a_repository_delivered_is_given_to_it(store: Store) -> None:
    """The repository that delivered the bytes has them, with their type and size."""
    deliver(store, APP)
    found = store.blobs.find(APP, DIGEST)
    assert found is not None
    os.close(found.file)
    assert (found.size, found.media_type, found.linked) == (len(DATA), TYPE, True)
    assert content(store, APP) == DATA


def test_what_nobody_delivered_is_not_there(store: Store) -> None:
    """An empty store gives nothing."""
    assert content(store, APP) is None


def test_one_download_may_be_committed_for_two_repositories(store: Store) -> None:
    """Coalesced pulls end in one commit for each repository that upstream confirmed."""
    path = store.partials.download(REGISTRY, DIGEST)
    path.write_bytes(DATA)
    store.blobs.commit(path, APP, DIGEST, TYPE, given_to=None)
    store.blobs.commit(path, SIBLING, DIGEST, TYPE, given_to=None)
    assert linked(store, APP) is True
    assert linked(store, SIBLING) is True


def test_a_file_that_is_cut_while_running_is_not_served(store: Store, folder: Path) -> None:
    """The length is looked at before every hit, and the blob can be delivered again."""
    deliver(store, APP)
    value_files(folder)[0].write_bytes(DATA[:-1])
    assert content(store, APP) is None
    deliver(store, APP)
    assert content(store, APP) == DATA


def test_a_file_that_is_gone_while_running_is_delivered_again(store: Store, folder: Path) -> None:
    """A row whose file somebody removed does not keep the blob out for ever."""
    deliver(store, APP)
    value_files(folder)[0].unlink()
    assert content(store, APP) is None
    deliver(store, APP)
    assert content(store, APP) == DATA


@pytest.mark.parametrize("tag", ["{", "{}", "[]", "1", None, b"\xff\xfe"])
def test_a_damaged_description_is_a_miss(
    store: Store, folder: Path, tag: str | bytes | None
) -> None:
    """A row that does not say what it should is removed, and the blob can be delivered again."""
    deliver(store, APP)
    write(folder / "blobs", "UPDATE Cache SET tag = CAST(? AS TEXT)", tag)
    assert content(store, APP) is None
    deliver(store, APP)
    assert content(store, APP) == DATA

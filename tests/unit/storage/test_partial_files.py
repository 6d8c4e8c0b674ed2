"""The files of unfinished downloads: apart by registry, no hits, and for a week."""

import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.protocol.identifiers import Digest, Origin
from entrepot.storage.store import Store
from unit.storage.world import APP, DATA, DAY, DIGEST, LIMIT, OTHER_REGISTRY, REGISTRY, content


def test_partial_files_of_registries_are_apart(store: Store) -> None:
    """What a hostile registry began does not spoil another's download."""
    paths = {
        store.partials.download(origin, digest)
        for origin in (REGISTRY, OTHER_REGISTRY, Origin("http", REGISTRY.host, 80))
        for digest in (DIGEST, Digest.of(DATA, "sha512"))
    }
    assert len(paths) == 6
    assert all(path.parent == store.partials.folder for path in paths)


def test_a_download_without_a_byte_is_gone_after_a_start(folder: Path) -> None:
    """There is nothing to continue in it; what has a byte stays."""
    with closing(Store(folder, LIMIT)) as store:
        empty, begun = (store.partials.download(o, DIGEST) for o in (REGISTRY, OTHER_REGISTRY))
        empty.touch()
        begun.write_bytes(b"l")
    Store(folder, LIMIT).close()
    assert list(begun.parent.iterdir()) == [begun]


@pytest.mark.parametrize(("age", "kept"), [(6 * DAY, True), (8 * DAY, False)])
def test_old_partial_files_are_removed(
    folder: Path,
    age: float,
    kept: bool,  # noqa: FBT001 a column of the table
) -> None:
    """A download that nobody continued for a week is given up."""
    with closing(Store(folder, LIMIT)) as store:
        path = store.partials.download(REGISTRY, DIGEST)
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age, time.time() - age))
    Store(folder, LIMIT).close()
    assert path.exists() is kept


def test_partial_files_are_no_hits(store: Store) -> None:
    """Bytes that were not verified are never found."""
    store.partials.download(REGISTRY, DIGEST).write_bytes(DATA)
    assert content(store, APP) is None

"""The files of unfinished downloads: apart by registry, no hits, and for a week."""

import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.protocol.identifiers import Digest, Origin
from entrepot.storage.capacity.download_claims import Fit
from entrepot.storage.partials.map_file import map_of
from entrepot.storage.partials.partial_map import PartialMap
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


@pytest.mark.parametrize("left", ["", "both", "map", "old", "new"])
def test_a_map_goes_with_its_file(folder: Path, left: str) -> None:
    """One whose file is gone or given up goes too; one that a kill left half written always."""
    with closing(Store(folder, LIMIT)) as store:
        path = store.partials.download(REGISTRY, DIGEST)
    if left != "map":
        path.write_bytes(b"half" if left else b"")
    PartialMap.create(path, [(0, 4)]).close()
    if left == "new":
        map_of(path).rename(path.with_name(map_of(path).name + ".new"))
    if left == "old":
        os.utime(path, (time.time() - 8 * DAY, time.time() - 8 * DAY))
    Store(folder, LIMIT).close()
    kept = {"both": {path, map_of(path)}, "new": {path}}.get(left, set())
    assert set(path.parent.iterdir()) == kept


def test_a_map_is_gone_when_its_file_is_committed(store: Store) -> None:
    """What comes later under that name has nothing to do with it."""
    path = store.partials.download(REGISTRY, DIGEST)
    path.write_bytes(DATA)
    PartialMap.create(path, [(0, len(DATA))]).close()
    store.blobs.commit(path, APP, DIGEST, "text/plain", given_to=None)
    assert not list(path.parent.iterdir())
    assert content(store, APP) == DATA


def test_what_is_sparse_counts_as_what_it_has(folder: Path) -> None:
    """From the start on, while it runs, and when it rests: 64 GiB that hold 1 MiB are 1 MiB."""
    mib = 1024**2
    with closing(Store(folder, LIMIT)) as store:
        path, empty = store.partials.download(REGISTRY, DIGEST), store.usage().held
    with path.open("wb") as file:
        file.seek(2**35)
        file.write(bytes(mib))
        file.truncate(2**36)
    PartialMap.create(path, [(2**35, 2**35 + mib)]).close()
    with closing(Store(folder, LIMIT)) as store:
        assert mib <= store.usage().unfinished < mib + 65536
        store.downloads.hold(path)
        assert store.downloads.admit(path, 5 * mib) is Fit.YES
        assert mib <= store.usage().unfinished < mib + 65536
        assert store.downloads.claim(path, 2 * mib, mib) >= 2 * mib
        assert store.usage().unfinished >= 2 * mib
        store.downloads.release(path)
        assert mib <= store.usage().unfinished < mib + 65536
        assert store.downloads.claim(path.with_name("other"), LIMIT - empty - mib)
        assert not list(path.parent.iterdir())  # both gave way

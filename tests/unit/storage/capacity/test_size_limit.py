"""What counts towards the limit, and the reserve of free disk."""

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from entrepot.protocol.identifiers import Digest
from entrepot.storage.capacity.download_claims import Fit
from entrepot.storage.store import Store
from unit.storage.capacity.world import (
    LIMIT,
    Room,
    fill,
    room_in,
)
from unit.storage.world import APP, DIGEST, content, deliver


def test_a_claim_that_the_databases_own_pages_leave_no_room_for_evicts_nothing(
    room: Room, blobs: Any, partials: Path
) -> None:
    """The database takes a few pages of the limit that no eviction gives back."""
    keys = fill(blobs, 3)
    assert room.downloads.admit(partials / "new", LIMIT) is Fit.NEVER
    assert not room.downloads.claim(partials / "new", LIMIT)
    assert set(blobs) == set(keys)


def test_more_than_the_disk_has_is_refused(blobs: Any, partials: Path) -> None:
    """The limit may be larger than the disk; the free space bounds it too."""
    keys = fill(blobs, 2)
    room = room_in(blobs, partials, 2**62)
    free = shutil.disk_usage(partials).free
    assert room.downloads.admit(partials / "new", free) is Fit.NEVER
    assert not room.downloads.claim(partials / "new", free)
    assert not room.drafts.claim(partials / "push-x", free, lambda: None)
    assert set(blobs) == set(keys)


def test_what_other_downloads_will_still_write_is_not_free(blobs: Any, partials: Path) -> None:
    """Free space that a running download has claimed is counted once."""
    room = room_in(blobs, partials, 2**62)
    most = shutil.disk_usage(partials).free * 6 // 10
    assert room.downloads.claim(partials / "one", most)
    assert not room.downloads.claim(partials / "two", most)


# In a whole store


def test_a_blob_is_not_counted_twice_while_it_is_committed(store: Store) -> None:
    """What was claimed for its file is its own then; nothing goes for the sum of both."""
    digest = Digest.of(bytes(5 * 1024**2))
    path = store.partials.download(APP.origin, digest)
    assert store.downloads.claim(path, 5 * 1024**2)
    path.write_bytes(bytes(5 * 1024**2))
    store.blobs.commit(path, APP, digest, "application/octet-stream", given_to=None)
    assert store.downloads.claim(store.partials.folder / "new", 4 * 1024**2)
    assert content(store, APP, digest) is not None


def test_what_is_known_counts_towards_the_limit(folder: Path) -> None:
    """The index takes room on the disk like anything else."""
    with closing(Store(folder, 4 * 1024**2)) as store:
        blobs = [deliver(store, APP, bytes([number]) * 1024**2) for number in range(2)]
        for number in range(400):
            store.tags.set(APP, f"{number}", "a/b," * 900, DIGEST)
        assert store.downloads.claim(store.partials.folder / "new", 1024**2)
        assert [content(store, APP, digest) is None for digest in blobs] == [True, False]

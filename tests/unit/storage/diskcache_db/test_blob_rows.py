"""What a blob's row knows of its file: when its bytes were verified, and whether it was touched."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.protocol.identifiers import Digest
from entrepot.storage.diskcache_db.blob_rows import TRUSTED_SECONDS
from entrepot.storage.store import Store
from unit.storage.world import APP, DATA, DIGEST, Clock, deliver


@pytest.fixture
def store(store: Store) -> Store:
    """One that has a blob."""
    deliver(store, APP)
    return store


def value_file(store: Store) -> Path:
    (path,) = (store.folder / "blobs").glob("??/??/*.val")
    return path


def sound(store: Store) -> bool:
    """Whether the blob may be served without being hashed."""
    found = store.blobs.find(APP, DIGEST)
    assert found is not None
    os.close(found.file)
    return found.sound


def state(store: Store) -> os.stat_result:
    return value_file(store).stat()


def test_what_was_just_committed_is_sound(store: Store) -> None:
    """Its bytes were hashed while they came."""
    assert sound(store)


@pytest.mark.parametrize(
    ("later", "still"),
    [(TRUSTED_SECONDS - 1, True), (TRUSTED_SECONDS, False), (-1.0, False), (1e10, False)],
    ids=["a day less", "a day", "set back", "far ahead"],
)
def test_a_verification_counts_for_a_day(
    store: Store,
    clock: Clock,
    later: float,
    still: bool,  # noqa: FBT001 a column of the table
) -> None:
    """Whatever becomes of the clock, it never counts for longer; then it is done once again."""
    clock.now += later
    assert sound(store) is still
    store.blobs.mark_verified(DIGEST, state(store))
    assert sound(store)


def test_a_touched_file_is_not_sound(store: Store) -> None:
    """A program may restore the times of a file after it wrote to it, but not its ctime."""
    before = state(store)
    with value_file(store).open("r+b") as file:
        file.write(b"LAYER")
    os.utime(value_file(store), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not sound(store)


def test_a_state_that_has_passed_is_not_sound(store: Store) -> None:
    """What was hashed before a write says nothing of the file after it."""
    before = state(store)
    os.utime(value_file(store), (1, 1))
    store.blobs.mark_verified(DIGEST, before)
    assert not sound(store)


def test_doubt_lasts_until_it_is_verified(store: Store) -> None:
    """A read that failed has the next one hash it first."""
    store.blobs.mark_suspect(DIGEST)
    assert not sound(store)
    store.blobs.mark_verified(DIGEST, state(store))
    assert sound(store)


def test_a_blob_that_was_replaced_meanwhile_is_not_removed(store: Store) -> None:
    """What was found damaged was another file."""
    damaged = state(store)
    deliver(store, APP, DATA)
    store.blobs.remove_damaged(DIGEST, damaged, "its bytes do not hash to the digest")
    assert sound(store)
    store.blobs.remove_damaged(DIGEST, state(store), "its bytes do not hash to the digest")
    assert store.blobs.find(APP, DIGEST) is None


def test_looking_at_a_blob_is_no_use_of_it(store: Store) -> None:
    """The scrubber does not keep what nobody asks for."""
    older, newer = (deliver(store, APP, bytes([number]) * (3 * 1024**2)) for number in (1, 2))
    file = store.blobs.peek(older)
    assert file is not None
    os.close(file)
    assert store.downloads.claim(store.partials.folder / "new", 6 * 1024**2)
    assert store.blobs.find(APP, older) is None
    found = store.blobs.find(APP, newer)
    assert found is not None
    os.close(found.file)


def test_all_blobs_are_listed_in_turns(store: Store, clock: Clock) -> None:
    """More than one step reaches all of them, each with the time of its verification."""
    store.manifests.put(APP, Digest.of(b"{}"), b"{}", "application/json", given_to=None)
    digests = {DIGEST, *(deliver(store, APP, b"%d" % number) for number in range(600))}
    listed, after = store.blobs.page(None)
    while after is not None:
        more, after = store.blobs.page(after)
        listed += more
    assert {blob.digest for blob in listed} == digests
    assert {blob.verified for blob in listed} == {clock.now}


def test_a_commit_that_fails_leaves_no_file(store: Store) -> None:
    """What no row knows would take room that nothing counts."""
    digest = Digest.of(b"other")
    path = store.partials.download(APP.origin, digest)
    path.write_bytes(b"other")
    with closing(sqlite3.connect(store.folder / "blobs" / "cache.db")) as connection:
        connection.execute("DROP TRIGGER Settings_count_insert")
        connection.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON Cache BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        connection.commit()
    with pytest.raises(Exception, match="database"):
        store.blobs.commit(path, APP, digest, "application/octet-stream", given_to=None)
    assert value_file(store).read_bytes() == DATA

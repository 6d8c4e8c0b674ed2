"""What the store knows of a file: when its bytes were verified, and whether it was touched."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.storage.diskcache_db.database import open_cache
from entrepot.storage.objects import TRUSTED_SECONDS
from entrepot.storage.store import Store

APP = Repository(Origin("https", "registry.example.test", 443), "team/app")
DATA = b"layer" * 1000
DIGEST = Digest.of(DATA)
LIMIT = 10 * 1024 * 1024


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(time.time())


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with closing(Store(tmp_path / "data", LIMIT, clock)) as store:
        deliver(store, DATA)
        yield store


def deliver(store: Store, content: bytes) -> Digest:
    """Commit a blob as a finished download does."""
    digest = Digest.of(content)
    path = store.partial(APP.origin, digest)
    path.write_bytes(content)
    store.commit_blob(path, APP, digest, "application/octet-stream", given_to=None)
    return digest


def value_file(store: Store) -> Path:
    (path,) = (store.folder / "blobs").glob("??/??/*.val")
    return path


def sound(store: Store) -> bool:
    """Whether the blob may be served without being hashed."""
    found = store.find_blob(APP, DIGEST)
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
    store.verified(DIGEST, state(store))
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
    store.verified(DIGEST, before)
    assert not sound(store)


def test_doubt_lasts_until_it_is_verified(store: Store) -> None:
    """A read that failed has the next one hash it first."""
    store.doubt(DIGEST)
    assert not sound(store)
    store.verified(DIGEST, state(store))
    assert sound(store)


def test_a_blob_that_was_replaced_meanwhile_is_not_removed(store: Store) -> None:
    """What was found damaged was another file."""
    damaged = state(store)
    deliver(store, DATA)
    store.remove_damaged(DIGEST, damaged, "its bytes do not hash to the digest")
    assert sound(store)
    store.remove_damaged(DIGEST, state(store), "its bytes do not hash to the digest")
    assert store.find_blob(APP, DIGEST) is None


def manifest_tag(store: Store, **change: str | None) -> dict[str, object]:
    """What the manifest's row says beside its bytes; changed first, None for not there."""
    path = store.folder / "blobs" / "cache.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        sql = "SELECT tag FROM Cache WHERE key LIKE 'manifest %'"
        tag = {**json.loads(connection.execute(sql).fetchone()[0]), **change}
        tag = {name: value for name, value in tag.items() if value is not None}
        sql = "UPDATE Cache SET tag = ? WHERE key LIKE 'manifest %'"
        connection.execute(sql, (json.dumps(tag),))
        return tag


def reads(store: Store, manifest: Digest) -> frozenset[Digest]:
    """What a manifest lists for a store that was opened just now."""
    with closing(Store(store.folder, LIMIT)) as other:
        found = other.find_manifest(APP, manifest)
        assert found is not None
        return found.listed()


def test_what_a_manifest_lists_is_read_from_beside_it(store: Store) -> None:
    """Not from its JSON, which is up to 4 MiB, at every hit; an earlier version's row learns it."""
    other = Digest.of(b"other")
    body = b'{"config": {"digest": "%b"}}' % str(DIGEST).encode()
    manifest = Digest.of(body)
    store.put_manifest(APP, manifest, body, "application/json", given_to=None)
    store.close()
    assert reads(store, manifest) == {DIGEST}
    manifest_tag(store, listed=other.hex)
    assert reads(store, manifest) == {other}
    for damaged in (None, "", "x"):
        manifest_tag(store, listed=damaged)
        assert reads(store, manifest) == (frozenset() if damaged == "" else {DIGEST})
        assert manifest_tag(store)["listed"] == ("" if damaged == "" else DIGEST.hex)


def test_looking_at_a_blob_is_no_use_of_it(store: Store) -> None:
    """The scrubber does not keep what nobody asks for."""
    older, newer = (deliver(store, bytes([number]) * (3 * 1024**2)) for number in (1, 2))
    file = store.peek(older)
    assert file is not None
    os.close(file)
    assert store.claim(store.partials / "new", 6 * 1024**2)
    assert store.find_blob(APP, older) is None
    found = store.find_blob(APP, newer)
    assert found is not None
    os.close(found.file)


def test_all_blobs_are_listed_in_turns(store: Store, clock: Clock) -> None:
    """More than one step reaches all of them, each with the time of its verification."""
    store.put_manifest(APP, Digest.of(b"{}"), b"{}", "application/json", given_to=None)
    digests = {DIGEST, *(deliver(store, b"%d" % number) for number in range(600))}
    listed, after = store.listed(None)
    while after is not None:
        more, after = store.listed(after)
        listed += more
    assert {blob.digest for blob in listed} == digests
    assert {blob.verified for blob in listed} == {clock.now}


def test_a_commit_that_fails_leaves_no_file(store: Store) -> None:
    """What no row knows would take room that nothing counts."""
    digest = Digest.of(b"other")
    path = store.partial(APP.origin, digest)
    path.write_bytes(b"other")
    with closing(sqlite3.connect(store.folder / "blobs" / "cache.db")) as connection:
        connection.execute("DROP TRIGGER Settings_count_insert")
        connection.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON Cache BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        connection.commit()
    with pytest.raises(Exception, match="database"):
        store.commit_blob(path, APP, digest, "application/octet-stream", given_to=None)
    assert value_file(store).read_bytes() == DATA


def test_a_database_is_read_without_a_memory_map(tmp_path: Path) -> None:
    """Else one that is cut short while it is open ends the process with a signal."""
    cache, _ = open_cache(tmp_path / "cache", "none")
    with closing(cache):
        assert cache._sql("PRAGMA mmap_size").fetchall() == [(0,)]  # noqa: SLF001

"""What is kept on disk: who may be given it, and what a kill leaves of it."""

import gc
import itertools
import json
import os
import pickle
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from diskcache.core import MODE_PICKLE

from entrepot.events.log import Events
from entrepot.protocol.credential import ANYONE
from entrepot.protocol.identifiers import Digest, Origin, Repository, Tag
from entrepot.storage.index import INDEX_SECONDS
from entrepot.storage.store import Store, StoreError
from rig.disk import small_disk
from rig.needs import need_root

LIMIT = 10 * 1024 * 1024
TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
REGISTRY = Origin("https", "registry.example.test", 443)
OTHER_REGISTRY = Origin("https", "other.example.test", 443)
APP = Repository(REGISTRY, "team/app")
SIBLING = Repository(REGISTRY, "team/sibling")
STRANGER = Repository(OTHER_REGISTRY, "team/app")
DATA = b"layer" * 1000
DIGEST = Digest.of(DATA)
DAY = 24 * 3600.0
T = TypeVar("T")


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def clock() -> Clock:
    return Clock(time.time())


@pytest.fixture
def store(folder: Path, clock: Clock) -> Iterator[Store]:
    with closing(Store(folder, LIMIT, clock)) as store:
        yield store


def deliver(
    store: Store, repository: Repository, content: bytes = DATA, *, public: bool = False
) -> Digest:
    """Commit a blob as a finished download from ``repository`` does."""
    digest = Digest.of(content)
    path = store.partial(repository.origin, digest)
    path.write_bytes(content)
    store.commit_blob(path, repository, digest, TYPE, given_to=ANYONE if public else None)
    return digest


def content(store: Store, repository: Repository, digest: Digest = DIGEST) -> bytes | None:
    """The bytes that the store would give for ``repository``."""
    found = store.find_blob(repository, digest)
    if found is None:
        return None
    try:
        return os.pread(found.file, found.size + 1, 0)
    finally:
        os.close(found.file)


def linked(store: Store, repository: Repository, digest: Digest = DIGEST) -> bool | None:
    """Whether the store knows that ``repository`` has the blob; None where it gives nothing."""
    found = store.find_blob(repository, digest)
    if found is None:
        return None
    os.close(found.file)
    return found.linked


def write(database: Path, sql: str, *values: object) -> None:
    """Change a database behind the store's back."""
    connection = sqlite3.connect(database / "cache.db")
    with connection:
        connection.execute(sql, values)
    connection.close()


def killed(folder: Path) -> None:
    """Let the last end have been none in order."""
    (folder / "clean").unlink()


def recover(store: Store) -> None:
    """What the upkeep does after a start, at once."""
    store.recover(lambda function: function(), lambda: None)


def value_files(folder: Path) -> list[Path]:
    return list((folder / "blobs").glob("??/??/*.val"))


# Who may be given a blob


def test_what_a_repository_delivered_is_given_to_it(store: Store) -> None:
    """The repository that delivered the bytes has them, with their type and size."""
    deliver(store, APP)
    found = store.find_blob(APP, DIGEST)
    assert found is not None
    os.close(found.file)
    assert (found.size, found.media_type, found.linked) == (len(DATA), TYPE, True)
    assert content(store, APP) == DATA


def test_what_nobody_delivered_is_not_there(store: Store) -> None:
    """An empty store gives nothing."""
    assert content(store, APP) is None


def test_a_confirmation_alone_gives_nothing(store: Store) -> None:
    """A registry that merely says it has another's private blob is not handed its bytes."""
    deliver(store, APP)
    store.confirm(STRANGER, DIGEST, given_to=ANYONE)
    assert content(store, STRANGER) is None
    store.confirm(STRANGER, DIGEST, given_to=None)
    assert content(store, STRANGER) is None


def test_a_confirmation_before_the_delivery_gives_nothing_either(store: Store) -> None:
    """The claim is not kept until another registry delivers the bytes."""
    store.confirm(STRANGER, DIGEST, given_to=ANYONE)
    deliver(store, APP)
    assert content(store, STRANGER) is None


def test_a_confirmation_of_a_stranger_makes_nothing_public(store: Store) -> None:
    """A registry that gave nothing cannot publish what another one gave."""
    deliver(store, APP)
    store.confirm(STRANGER, DIGEST, given_to=ANYONE)
    third = Repository(Origin("https", "third.example.test", 443), "a")
    assert content(store, third) is None


def test_a_repository_of_the_same_registry_needs_its_confirmation(store: Store) -> None:
    """The registry delivered the bytes once; whether a repository has them it must say."""
    deliver(store, APP)
    assert linked(store, SIBLING) is False
    store.confirm(SIBLING, DIGEST, given_to=None)
    assert linked(store, SIBLING) is True


def test_public_bytes_are_shared_with_every_registry_that_confirms(store: Store) -> None:
    """What anybody gets from one registry is no secret of another's."""
    deliver(store, APP, public=True)
    assert linked(store, STRANGER) is False
    store.confirm(STRANGER, DIGEST, given_to=None)
    assert linked(store, STRANGER) is True


def test_bytes_are_public_for_ten_minutes_only(store: Store, folder: Path) -> None:
    """What was public once may be private by now; that others use it does not keep it public."""
    deliver(store, APP, public=True)
    store.confirm(STRANGER, DIGEST, given_to=None)
    with closing(sqlite3.connect(folder / "index" / "cache.db")) as connection:
        (ends,) = connection.execute(
            "SELECT expire_time FROM Cache WHERE key = ?", (f"public {DIGEST}",)
        ).fetchone()
    assert ends <= time.time() + 600


def test_a_holder_makes_its_bytes_public(store: Store) -> None:
    """A registry that delivered them may say later that anybody gets them."""
    deliver(store, APP)
    store.confirm(SIBLING, DIGEST, given_to=ANYONE)
    assert linked(store, STRANGER) is False


def test_a_second_registry_that_delivers_has_them_too(store: Store, folder: Path) -> None:
    """The bytes are kept once, each registry's link beside them."""
    deliver(store, APP)
    deliver(store, STRANGER)
    assert linked(store, APP) is True
    assert linked(store, STRANGER) is True
    assert len(value_files(folder)) == 1
    assert not list(store.partials.iterdir())


def test_an_unlinked_blob_must_be_confirmed_again(store: Store) -> None:
    """After a 404 the bytes stay, the knowledge goes."""
    deliver(store, APP)
    store.unlink(APP, DIGEST)
    assert linked(store, APP) is False
    store.confirm(APP, DIGEST, given_to=None)
    assert linked(store, APP) is True


def test_origins_differ_by_scheme_and_port(store: Store) -> None:
    """Another port of the same host is another registry."""
    deliver(store, APP)
    for origin in (Origin("http", REGISTRY.host, 80), Origin("https", REGISTRY.host, 5000)):
        assert content(store, Repository(origin, APP.name)) is None


def test_one_download_may_be_committed_for_two_repositories(store: Store) -> None:
    """Coalesced pulls end in one commit for each repository that upstream confirmed."""
    path = store.partial(REGISTRY, DIGEST)
    path.write_bytes(DATA)
    store.commit_blob(path, APP, DIGEST, TYPE, given_to=None)
    store.commit_blob(path, SIBLING, DIGEST, TYPE, given_to=None)
    assert linked(store, APP) is True
    assert linked(store, SIBLING) is True


def test_partial_files_of_registries_are_apart(store: Store) -> None:
    """What a hostile registry began does not spoil another's download."""
    paths = {
        store.partial(origin, digest)
        for origin in (REGISTRY, OTHER_REGISTRY, Origin("http", REGISTRY.host, 80))
        for digest in (DIGEST, Digest.of(DATA, "sha512"))
    }
    assert len(paths) == 6
    assert all(path.parent == store.partials for path in paths)


# Manifests


def test_a_manifest_comes_back_as_it_was(store: Store, clock: Clock) -> None:
    """Exact bytes, type and time."""
    body = b'{"config": {"digest": "%b"}}  \n' % str(DIGEST).encode()
    digest = Digest.of(body)
    assert store.put_manifest(APP, digest, body, "application/json", given_to=None)
    found = store.find_manifest(APP, digest)
    assert found is not None
    assert (found.content, found.media_type, found.stored) == (body, "application/json", clock.now)
    assert found.linked
    assert found.listed() == {DIGEST}


def test_a_manifest_is_one_registrys_own(store: Store) -> None:
    """Another registry's manifest of the same digest is not given, its type may differ."""
    store.put_manifest(APP, DIGEST, b"{}", "application/json", given_to=None)
    assert store.find_manifest(STRANGER, DIGEST) is None


def test_a_manifest_of_another_repository_needs_a_confirmation(store: Store) -> None:
    """The bytes are there, the link is not."""
    digest = Digest.of(b"{}")
    store.put_manifest(APP, digest, b"{}", "application/json", given_to=None)
    found = store.find_manifest(SIBLING, digest)
    assert found is not None
    assert not found.linked


def test_a_manifest_that_does_not_fit_is_not_kept(folder: Path) -> None:
    """The limit holds for manifests too."""
    with closing(Store(folder, 100_000)) as store:
        assert not store.put_manifest(
            APP, DIGEST, bytes(100_001), "application/json", given_to=None
        )
        assert store.find_manifest(APP, DIGEST) is None


# Tags


def test_a_tag_is_what_it_last_was(store: Store, clock: Clock) -> None:
    """Digest and time of the last word, for this repository and Accept only."""
    store.set_tag(APP, "1", "a/b", Digest.of(b"old"))
    clock.now += 5
    store.set_tag(APP, "1", "a/b", DIGEST)
    entry = store.tag(APP, "1").get("a/b")
    assert entry is not None
    assert (entry.digest, entry.checked) == (str(DIGEST), clock.now)
    assert store.tag(APP, "1").get("*/*") is None
    assert store.tag(APP, "2").get("a/b") is None
    assert store.tag(SIBLING, "1").get("a/b") is None
    assert store.tag(STRANGER, "1").get("a/b") is None


def test_a_tag_is_kept_for_sixteen_accepts(store: Store) -> None:
    """The seventeenth replaces the one that was said longest ago."""
    for number in range(16):
        store.set_tag(APP, "1", f"a/{number}", DIGEST)
    store.set_tag(APP, "1", "a/0", DIGEST)
    store.set_tag(APP, "1", "a/16", DIGEST)
    kept = {number for number in range(17) if store.tag(APP, "1").get(f"a/{number}")}
    assert kept == set(range(17)) - {1}


def test_a_forgotten_tag_is_forgotten_under_every_accept(store: Store) -> None:
    """A push moves the tag for all."""
    store.set_tag(APP, "1", "a/b", DIGEST)
    store.set_tag(APP, "1", "*/*", DIGEST)
    store.set_tag(APP, "2", "*/*", DIGEST)
    store.forget_tag(APP, "1")
    assert store.tag(APP, "1").get("a/b") is None
    assert store.tag(APP, "1").get("*/*") is None
    assert store.tag(APP, "2").get("*/*") is not None


# Hosts, and rows that nobody uses


def test_that_something_is_gone_counts_for_whom_it_was_told(store: Store) -> None:
    """Until they are given it again; others keep it, and what it is to be served as."""
    tag, account = Tag("1"), "account=fleet"
    deliver(store, APP, public=True)
    store.confirm(APP, DIGEST, given_to=account)
    store.set_tag(APP, "1", "*/*", DIGEST)
    for gone in (DIGEST, tag):
        store.set_gone(APP, gone, ANYONE)
        assert store.is_gone(APP, gone, ANYONE)
        assert not store.is_gone(APP, gone, account)
        assert not store.was_given(APP, DIGEST, ANYONE, gone)
        assert store.was_given(APP, DIGEST, account, gone)
    assert linked(store, APP)
    assert set(store.tag(APP, "1")) == {"*/*"}
    store.confirm(APP, DIGEST, given_to=ANYONE)
    assert store.was_given(APP, DIGEST, ANYONE, DIGEST)
    assert not store.was_given(APP, DIGEST, ANYONE, tag)
    store.set_found(APP, tag, ANYONE)
    assert store.was_given(APP, DIGEST, ANYONE, tag)


def test_nothing_is_written_of_what_nobody_was_ever_given(store: Store, folder: Path) -> None:
    """Whoever asks for a million things that are not there."""
    for number in range(10):
        store.set_gone(APP, Tag(str(number)), ANYONE)
        store.set_gone(APP, Digest.of(str(number).encode()), ANYONE)
    with closing(sqlite3.connect(folder / "index" / "cache.db")) as database:
        (rows,) = database.execute("SELECT count(*) FROM Cache WHERE key LIKE 'gone%'").fetchone()
    assert rows == 0


def test_a_verdict_on_a_host_counts_for_its_time(store: Store, clock: Clock) -> None:
    """Until when is said; the row stays for longer, for when the host cannot be asked."""
    store.set_host(REGISTRY, registry=True, seconds=60)
    entry = store.host(REGISTRY)
    assert entry is not None
    assert (entry.registry, entry.until) == (True, clock.now + 60)
    assert store.host(OTHER_REGISTRY) is None
    clock.now += 60
    assert store.host(REGISTRY) == entry


def test_unused_knowledge_expires(store: Store, folder: Path) -> None:
    """After 90 days without use a link counts no more."""
    deliver(store, APP)
    write(folder / "index", "UPDATE Cache SET expire_time = ?", time.time() - 1)
    assert content(store, APP) is None


def test_used_knowledge_lives_on(store: Store, folder: Path) -> None:
    """Half of its time gone, a link that is used gets the whole again."""
    deliver(store, APP)
    write(folder / "index", "UPDATE Cache SET expire_time = ?", time.time() + 30 * DAY)
    assert content(store, APP) == DATA
    connection = sqlite3.connect(folder / "index" / "cache.db")
    rows = dict(connection.execute("SELECT key, expire_time FROM Cache").fetchall())
    connection.close()
    link = next(value for key, value in rows.items() if key.startswith("link "))
    assert link > time.time() + INDEX_SECONDS - DAY


# The limit


def test_the_least_recently_used_blob_makes_room(store: Store) -> None:
    """A blob that was read stays; the other is gone for its repository as well."""
    old, used = (deliver(store, APP, bytes([n]) * (4 * 1024**2)) for n in (1, 2))
    assert content(store, APP, old) is not None
    assert content(store, APP, used) is not None
    assert store.claim(store.partials / "new", 5 * 1024**2)
    assert content(store, APP, old) is None
    assert content(store, APP, used) is not None


def test_a_blob_is_not_counted_twice_while_it_is_committed(store: Store) -> None:
    """What was claimed for its file is its own then; nothing goes for the sum of both."""
    digest = Digest.of(bytes(5 * 1024**2))
    path = store.partial(APP.origin, digest)
    assert store.claim(path, 5 * 1024**2)
    path.write_bytes(bytes(5 * 1024**2))
    store.commit_blob(path, APP, digest, "application/octet-stream", given_to=None)
    assert store.claim(store.partials / "new", 4 * 1024**2)
    assert content(store, APP, digest) is not None


def test_what_is_known_counts_towards_the_limit(folder: Path) -> None:
    """The index takes room on the disk like anything else."""
    with closing(Store(folder, 4 * 1024**2)) as store:
        blobs = [deliver(store, APP, bytes([number]) * 1024**2) for number in range(2)]
        for number in range(400):
            store.set_tag(APP, f"{number}", "a/b," * 900, DIGEST)
        assert store.claim(store.partials / "new", 1024**2)
        assert [content(store, APP, digest) is None for digest in blobs] == [True, False]


def test_an_evicted_blob_can_be_read_to_its_end(store: Store) -> None:
    """A transfer that has begun is not cut by an eviction."""
    big = bytes(5 * 1024**2)
    digest = deliver(store, APP, big)
    found = store.find_blob(APP, digest)
    assert found is not None
    assert store.claim(store.partials / "new", 6 * 1024**2)
    assert content(store, APP, digest) is None
    assert os.pread(found.file, len(big), 0) == big
    os.close(found.file)


def test_the_first_limit_is_remembered(folder: Path) -> None:
    """Without a limit one is chosen at the first start and kept, however full the disk gets."""
    with closing(Store(folder)) as store:
        chosen = store.limit
        deliver(store, APP, bytes(4 * 1024**2))
    assert 0 < chosen <= 100 * 1024**3
    with closing(Store(folder)) as store:
        assert store.limit == chosen


def test_a_smaller_limit_holds_from_the_start(folder: Path) -> None:
    """What is over the new limit goes when the store is opened."""
    with closing(Store(folder, LIMIT)) as store:
        digests = [deliver(store, APP, bytes([n]) * (1024**2)) for n in range(4)]
    with closing(Store(folder, 2 * 1024**2)) as store:
        assert [content(store, APP, digest) is None for digest in digests].count(False) == 1


# Reopening


def test_content_survives_a_restart(folder: Path) -> None:
    """Blobs, manifests, tags, hosts and who may have what are all still there."""
    with closing(Store(folder, LIMIT)) as store:
        deliver(store, APP)
        store.put_manifest(APP, Digest.of(b"{}"), b"{}", "application/json", given_to=None)
        store.set_tag(APP, "1", "*/*", Digest.of(b"{}"))
        store.set_host(REGISTRY, registry=True, seconds=60)
    with closing(Store(folder, LIMIT)) as store:
        assert content(store, APP) == DATA
        assert content(store, STRANGER) is None
        assert store.find_manifest(APP, Digest.of(b"{}")) is not None
        assert store.tag(APP, "1").get("*/*") is not None
        assert store.host(REGISTRY) is not None


def test_a_download_without_a_byte_is_gone_after_a_start(folder: Path) -> None:
    """There is nothing to continue in it; what has a byte stays."""
    with closing(Store(folder, LIMIT)) as store:
        empty, begun = (store.partial(o, DIGEST) for o in (REGISTRY, OTHER_REGISTRY))
        empty.touch()
        begun.write_bytes(b"l")
    Store(folder, LIMIT).close()
    assert list(begun.parent.iterdir()) == [begun]


def test_a_folder_is_one_stores_at_a_time(folder: Path) -> None:
    """A second one is refused as long as the first is open."""
    message = r"data.*another entrepot is using it"
    with closing(Store(folder, LIMIT)), pytest.raises(StoreError, match=message):
        Store(folder, LIMIT)
    Store(folder, LIMIT).close()


def test_a_newer_format_is_refused_and_left_alone(folder: Path) -> None:
    """A downgrade does not destroy what it cannot read."""
    with closing(Store(folder, LIMIT)) as store:
        deliver(store, APP)
    (folder / "format").write_text("2\n")
    with pytest.raises(StoreError, match="its format is '2', this version reads '1'"):
        Store(folder, LIMIT)
    assert len(value_files(folder)) == 1


def test_a_disk_that_was_full_at_the_first_start_spoils_nothing(tmp_path: Path) -> None:
    """The folder that could not be made is made once there is room."""
    need_root()
    with small_disk(tmp_path / "disk", 4 * 1024**2) as disk:
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        with pytest.raises(StoreError, match="the disk is full"):
            Store(disk / "data", LIMIT)
        filler.unlink()
        Store(disk / "data", LIMIT).close()


def test_a_refused_start_lets_go_of_the_folder(folder: Path) -> None:
    """The lock of a store that did not open is not held on."""
    Store(folder, LIMIT).close()
    (folder / "format").write_text("2\n")
    with pytest.raises(StoreError):
        Store(folder, LIMIT)
    (folder / "format").write_text("1\n")
    Store(folder, LIMIT).close()


def test_the_folder_is_the_owners_alone(folder: Path) -> None:
    """Nobody else may enter, not even where the folder was there before."""
    folder.mkdir(mode=0o755)
    Store(folder, LIMIT).close()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_an_error_of_one_line(tmp_path: Path) -> None:
    """A file in the place of the folder is named in the error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        Store(tmp_path / "file" / "data", LIMIT)


# After a kill


def rows_of(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "blobs" / "cache.db")) as connection:
        ((count,),) = connection.execute("SELECT COUNT(*) FROM Cache").fetchall()
    return int(count)


def test_a_row_without_its_file_is_removed(folder: Path) -> None:
    """A blob whose file is gone is not there, looked through or not, and can be delivered again."""
    with closing(Store(folder, LIMIT)) as store:
        deliver(store, APP)
    value_files(folder)[0].unlink()
    killed(folder)
    with closing(Store(folder, LIMIT)) as store:
        assert content(store, APP) is None
        recover(store)
        assert rows_of(folder) == 0
        assert content(store, APP) is None
        deliver(store, APP)
        assert content(store, APP) == DATA


def test_a_file_without_a_row_is_removed(folder: Path) -> None:
    """A kill between the rename and its row leaves a file that nothing knows."""
    with closing(Store(folder, LIMIT)) as store:
        deliver(store, APP)
    orphan = folder / "blobs" / "ab" / "cd" / f"{'0' * 28}.val"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"renamed, but no row")
    killed(folder)
    with closing(Store(folder, LIMIT)) as store:
        recover(store)
        assert not orphan.exists()
        assert content(store, APP) == DATA


@pytest.mark.parametrize("damaged", [DATA[:-1], b"", DATA + b"x"])
def test_a_file_of_another_length_is_removed_after_a_kill(folder: Path, damaged: bytes) -> None:
    """A file that lost its end in a power cut is never served."""
    with closing(Store(folder, LIMIT)) as store:
        deliver(store, APP)
    value_files(folder)[0].write_bytes(damaged)
    killed(folder)
    with closing(Store(folder, LIMIT)) as store:
        recover(store)
        assert not value_files(folder)
        assert content(store, APP) is None


def test_what_comes_while_it_is_looked_through_stays(folder: Path) -> None:
    """Blobs that are committed, and those that are replaced, between two turns of it."""
    with closing(Store(folder, LIMIT)) as store:
        digests = [deliver(store, APP, bytes([number])) for number in range(3)]
    killed(folder)
    for path in value_files(folder):
        path.write_bytes(b"damaged")
    with closing(Store(folder, LIMIT)) as store:
        turns = itertools.count()

        def turn(function: Callable[[], T]) -> T:
            number = next(turns)
            if number == 1:  # they were seen damaged
                for one in range(3):
                    deliver(store, APP, bytes([one]))
            if number < 4:
                deliver(store, APP, bytes([100 + number]))
            return function()

        store.recover(turn, lambda: None)
        assert [content(store, APP, digest) for digest in digests] == [b"\0", b"\1", b"\2"]
        assert len(value_files(folder)) == rows_of(folder) == 3 + 4


@dataclass
class Log:
    """Events, of which one is counted."""

    events: Events = field(default_factory=Events)

    def looked_through(self, folder: Path) -> bool:
        """Whether a start finds something to look through."""
        before = self.events.counts["store_recovered"]
        with closing(Store(folder, LIMIT, events=self.events)) as store:
            recover(store)
        return self.events.counts["store_recovered"] > before


def test_a_folder_is_looked_through_after_an_end_without_order_only(folder: Path) -> None:
    """Not the first time, and not after an orderly end; else once, however often it is asked."""
    log = Log()
    assert not log.looked_through(folder)
    assert not log.looked_through(folder)
    killed(folder)
    assert log.looked_through(folder)
    assert not log.looked_through(folder)
    with closing(Store(folder, LIMIT)):
        killed_while_open = not (folder / "clean").exists()
    assert killed_while_open


def test_an_end_before_it_was_looked_through_is_none_in_order(folder: Path) -> None:
    """However often it is started and ended meanwhile."""
    Store(folder, LIMIT).close()
    killed(folder)
    Store(folder, LIMIT).close()
    Store(folder, LIMIT).close()
    assert Log().looked_through(folder)


@pytest.mark.parametrize("cache", ["blobs", "index"])
def test_a_database_that_somebody_wrote_to_is_looked_through(folder: Path, cache: str) -> None:
    """Another version, an administrator or a backup: whoever it was after the end."""
    Store(folder, LIMIT).close()
    write(folder / cache, "INSERT INTO Settings VALUES (?, 1)", "somebody")
    assert Log().looked_through(folder)
    path = folder / cache / "cache.db"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    assert Log().looked_through(folder)


def test_damage_that_shows_while_it_runs_is_no_orderly_end(folder: Path) -> None:
    """So the next start reads the database as a whole, and sets it aside."""
    events = Events()
    with closing(Store(folder, LIMIT, events=events)) as store:
        deliver(store, APP)
        write(folder / "blobs", "ALTER TABLE Cache RENAME COLUMN filename TO other")
        with pytest.raises(StoreError):
            store.find_blob(APP, DIGEST)
    assert not (folder / "clean").exists()
    with closing(Store(folder, LIMIT, events=events)) as store:
        recover(store)
    assert (events.counts["database_damaged"], value_files(folder)) == (1, [])


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


@pytest.mark.parametrize(("age", "kept"), [(6 * DAY, True), (8 * DAY, False)])
def test_old_partial_files_are_removed(
    folder: Path,
    age: float,
    kept: bool,  # noqa: FBT001 a column of the table
) -> None:
    """A download that nobody continued for a week is given up."""
    with closing(Store(folder, LIMIT)) as store:
        path = store.partial(REGISTRY, DIGEST)
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age, time.time() - age))
    Store(folder, LIMIT).close()
    assert path.exists() is kept


def test_partial_files_are_no_hits(store: Store) -> None:
    """Bytes that were not verified are never found."""
    store.partial(REGISTRY, DIGEST).write_bytes(DATA)
    assert content(store, APP) is None


# Broken databases


def test_a_pickled_row_is_no_manifest(store: Store, folder: Path, tmp_path: Path) -> None:
    """A manifest that somebody replaced by a pickle costs the hit, and runs nothing."""
    store.put_manifest(APP, Digest.of(b"{}"), b"{}", "application/json", given_to=None)
    trace = tmp_path / "trace"
    bomb = b"cpathlib\nPath.touch\n(cpathlib\nPath\n(V%b\ntRtR." % str(trace).encode()
    with pytest.raises(AttributeError):
        pickle.loads(bomb.replace(b"touch", b"touchy"))  # noqa: S301 it is a pickle
    write(folder / "blobs", "UPDATE Cache SET mode = ?, value = ?", MODE_PICKLE, bomb)
    assert store.find_manifest(APP, Digest.of(b"{}")) is None
    assert not trace.exists()


@pytest.mark.parametrize("database", ["blobs", "index"])
def test_a_database_without_its_table_is_a_store_error(
    store: Store, folder: Path, database: str
) -> None:
    """Whatever SQLite says, callers see one kind of error and go on without the store."""
    deliver(store, APP)
    write(folder / database, "DROP TABLE Cache")
    with pytest.raises(StoreError):
        store.find_blob(APP, DIGEST)


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


def test_threads_leave_no_connection_open(folder: Path) -> None:
    """Every thread that used the store has its database connection closed in the end."""
    with closing(Store(folder, LIMIT)) as store:

        def use() -> None:
            store.tag(APP, "1")
            store.disconnect()

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    gc.collect()


def test_rows_are_text_that_json_reads(store: Store, folder: Path) -> None:
    """No row of either database is a pickle."""
    deliver(store, APP, public=True)
    store.put_manifest(APP, DIGEST, b"{}", "application/json", given_to=None)
    store.set_tag(APP, "1", "*/*", DIGEST)
    store.set_host(REGISTRY, registry=True, seconds=60)
    for name in ("blobs", "index"):
        connection = sqlite3.connect(folder / name / "cache.db")
        rows = connection.execute("SELECT raw, mode, value, tag FROM Cache").fetchall()
        connection.close()
        assert rows
        for raw, mode, value, tag in rows:
            assert raw == 1
            assert mode != MODE_PICKLE
            assert all(json.loads(text) for text in (value, tag) if isinstance(text, str))

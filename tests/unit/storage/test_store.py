"""The store as a whole: opened again, with its limit, and with a damaged database."""

import gc
import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from diskcache.core import MODE_PICKLE

from entrepot.protocol.identifiers import Digest
from entrepot.storage.errors import StoreError
from entrepot.storage.store import Store
from unit.storage.world import (
    APP,
    DATA,
    DIGEST,
    LIMIT,
    REGISTRY,
    STRANGER,
    content,
    deliver,
    write,
)


def test_content_survives_a_restart(folder: Path) -> None:
    """Blobs, manifests, tags, hosts and who may have what are all still there."""
    with closing(Store(folder, LIMIT)) as store:
        deliver(store, APP)
        store.manifests.put(APP, Digest.of(b"{}"), b"{}", "application/json", given_to=None)
        store.tags.set(APP, "1", "*/*", Digest.of(b"{}"))
        store.hosts.set(REGISTRY, registry=True, seconds=60)
    with closing(Store(folder, LIMIT)) as store:
        assert content(store, APP) == DATA
        assert content(store, STRANGER) is None
        assert store.manifests.find(APP, Digest.of(b"{}")) is not None
        assert store.tags.get(APP, "1").get("*/*") is not None
        assert store.hosts.get(REGISTRY) is not None


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


@pytest.mark.parametrize("database", ["blobs", "index"])
def test_a_database_without_its_table_is_a_store_error(
    store: Store, folder: Path, database: str
) -> None:
    """Whatever SQLite says, callers see one kind of error and go on without the store."""
    deliver(store, APP)
    write(folder / database, "DROP TABLE Cache")
    with pytest.raises(StoreError):
        store.blobs.find(APP, DIGEST)


def test_threads_leave_no_connection_open(folder: Path) -> None:
    """Every thread that used the store has its database connection closed in the end."""
    with closing(Store(folder, LIMIT)) as store:

        def use() -> None:
            store.tags.get(APP, "1")
            store.disconnect()

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    gc.collect()


def test_rows_are_text_that_json_reads(store: Store, folder: Path) -> None:
    """No row of either database is a pickle."""
    deliver(store, APP, public=True)
    store.manifests.put(APP, DIGEST, b"{}", "application/json", given_to=None)
    store.tags.set(APP, "1", "*/*", DIGEST)
    store.hosts.set(REGISTRY, registry=True, seconds=60)
    for name in ("blobs", "index"):
        connection = sqlite3.connect(folder / name / "cache.db")
        rows = connection.execute("SELECT raw, mode, value, tag FROM Cache").fetchall()
        connection.close()
        assert rows
        for raw, mode, value, tag in rows:
            assert raw == 1
            assert mode != MODE_PICKLE
            assert all(json.loads(text) for text in (value, tag) if isinstance(text, str))

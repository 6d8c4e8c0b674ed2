"""What registries last gave and did not find, by whom it was told."""

import sqlite3
from contextlib import closing
from pathlib import Path

from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Tag
from entrepot.storage.store import Store
from unit.storage.world import APP, DIGEST, deliver, linked


def test_that_something_is_gone_counts_for_whom_it_was_told(store: Store) -> None:
    """Until they are given it again; others keep it, and what it is to be served as."""
    tag, account = Tag("1"), "account=fleet"
    deliver(store, APP, public=True)
    store.links.confirm(APP, DIGEST, given_to=account)
    store.tags.set(APP, "1", "*/*", DIGEST)
    for gone in (DIGEST, tag):
        store.decisions.set_gone(APP, gone, ANYONE)
        assert store.decisions.is_gone(APP, gone, ANYONE)
        assert not store.decisions.is_gone(APP, gone, account)
        assert not store.decisions.was_given(APP, DIGEST, ANYONE, gone)
        assert store.decisions.was_given(APP, DIGEST, account, gone)
    assert linked(store, APP)
    assert set(store.tags.get(APP, "1")) == {"*/*"}
    store.links.confirm(APP, DIGEST, given_to=ANYONE)
    assert store.decisions.was_given(APP, DIGEST, ANYONE, DIGEST)
    assert not store.decisions.was_given(APP, DIGEST, ANYONE, tag)
    store.decisions.set_found(APP, tag, ANYONE)
    assert store.decisions.was_given(APP, DIGEST, ANYONE, tag)


def test_nothing_is_written_of_what_nobody_was_ever_given(store: Store, folder: Path) -> None:
    """Whoever asks for a million things that are not there."""
    for number in range(10):
        store.decisions.set_gone(APP, Tag(str(number)), ANYONE)
        store.decisions.set_gone(APP, Digest.of(str(number).encode()), ANYONE)
    with closing(sqlite3.connect(folder / "index" / "cache.db")) as database:
        (rows,) = database.execute("SELECT count(*) FROM Cache WHERE key LIKE 'gone%'").fetchone()
    assert rows == 0

"""Which repository has which bytes, and to whom a registry's word gives none."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Origin, Repository
from entrepot.storage.diskcache_db.index_rows import INDEX_SECONDS
from entrepot.storage.store import Store
from unit.storage.world import (
    APP,
    DATA,
    DAY,
    DIGEST,
    REGISTRY,
    SIBLING,
    STRANGER,
    content,
    deliver,
    linked,
    value_files,
    write,
)


def test_a_confirmation_alone_gives_nothing(store: Store) -> None:
    """A registry that merely says it has another's private blob is not handed its bytes."""
    deliver(store, APP)
    store.links.confirm(STRANGER, DIGEST, given_to=ANYONE)
    assert content(store, STRANGER) is None
    store.links.confirm(STRANGER, DIGEST, given_to=None)
    assert content(store, STRANGER) is None


def test_a_confirmation_before_the_delivery_gives_nothing_either(store: Store) -> None:
    """The claim is not kept until another registry delivers the bytes."""
    store.links.confirm(STRANGER, DIGEST, given_to=ANYONE)
    deliver(store, APP)
    assert content(store, STRANGER) is None


def test_a_confirmation_of_a_stranger_makes_nothing_public(store: Store) -> None:
    """A registry that gave nothing cannot publish what another one gave."""
    deliver(store, APP)
    store.links.confirm(STRANGER, DIGEST, given_to=ANYONE)
    third = Repository(Origin("https", "third.example.test", 443), "a")
    assert content(store, third) is None


def test_a_repository_of_the_same_registry_needs_its_confirmation(store: Store) -> None:
    """The registry delivered the bytes once; whether a repository has them it must say."""
    deliver(store, APP)
    assert linked(store, SIBLING) is False
    store.links.confirm(SIBLING, DIGEST, given_to=None)
    assert linked(store, SIBLING) is True


def test_public_bytes_are_shared_with_every_registry_that_confirms(store: Store) -> None:
    """What anybody gets from one registry is no secret of another's."""
    deliver(store, APP, public=True)
    assert linked(store, STRANGER) is False
    store.links.confirm(STRANGER, DIGEST, given_to=None)
    assert linked(store, STRANGER) is True


def test_bytes_are_public_for_ten_minutes_only(store: Store, folder: Path) -> None:
    """What was public once may be private by now; that others use it does not keep it public."""
    deliver(store, APP, public=True)
    store.links.confirm(STRANGER, DIGEST, given_to=None)
    with closing(sqlite3.connect(folder / "index" / "cache.db")) as connection:
        (ends,) = connection.execute(
            "SELECT expire_time FROM Cache WHERE key = ?", (f"public {DIGEST}",)
        ).fetchone()
    assert ends <= time.time() + 600


def test_a_holder_makes_its_bytes_public(store: Store) -> None:
    """A registry that delivered them may say later that anybody gets them."""
    deliver(store, APP)
    store.links.confirm(SIBLING, DIGEST, given_to=ANYONE)
    assert linked(store, STRANGER) is False


def test_a_second_registry_that_delivers_has_them_too(store: Store, folder: Path) -> None:
    """The bytes are kept once, each registry's link beside them."""
    deliver(store, APP)
    deliver(store, STRANGER)
    assert linked(store, APP) is True
    assert linked(store, STRANGER) is True
    assert len(value_files(folder)) == 1
    assert not list(store.partials.folder.iterdir())


def test_an_unlinked_blob_must_be_confirmed_again(store: Store) -> None:
    """After a 404 the bytes stay, the knowledge goes."""
    deliver(store, APP)
    store.links.remove(APP, DIGEST)
    assert linked(store, APP) is False
    store.links.confirm(APP, DIGEST, given_to=None)
    assert linked(store, APP) is True


def test_origins_differ_by_scheme_and_port(store: Store) -> None:
    """Another port of the same host is another registry."""
    deliver(store, APP)
    for origin in (Origin("http", REGISTRY.host, 80), Origin("https", REGISTRY.host, 5000)):
        assert content(store, Repository(origin, APP.name)) is None


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

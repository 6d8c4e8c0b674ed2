"""Lists on disk: by what was asked and by label, within bounds, whatever becomes of a row."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.protocol.account import ANYONE
from entrepot.protocol.messages import Request
from entrepot.protocol.routes import Catalog, TagList
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.list_rows import ListRows
from entrepot.storage.lists.kept_list import KeptList, ListName
from entrepot.storage.store import Store
from unit.storage.world import APP, DIGEST, REGISTRY, SIBLING, Clock, content, deliver

BODY = json.dumps({"name": "team/app", "tags": ["1"]}).encode()
HEADERS = (("Content-Type", "application/json"), ("ETag", '"1"'))
LIMIT = 64 * 1024 * 1024


@pytest.fixture
def clock() -> Clock:
    return Clock(1e9)


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with closing(Store(tmp_path, LIMIT, clock)) as store:
        yield store


def named(query: str = "", repository: str = "team/app") -> ListName:
    request = Request("GET", REGISTRY, f"/v2/{repository}/tags/list", query)
    return ListName.of(request, TagList(repository))


def kept(checked: float = 1e9, body: bytes = BODY) -> KeptList:
    return KeptList.of(200, HEADERS, body, checked)


def test_what_is_put_is_found_again(store: Store, tmp_path: Path, clock: Clock) -> None:
    """For its label, its question and its repository alone; after a restart, too."""
    assert store.lists.put(named(), ANYONE, kept())
    catalog = ListName.of(Request("GET", REGISTRY, "/v2/_catalog"), Catalog())
    assert store.lists.put(catalog, ANYONE, kept(body=b"catalog"))
    store.close()
    with closing(Store(tmp_path, LIMIT, clock)) as again:
        assert again.lists.read(named(), ANYONE) == kept()
        assert again.lists.head(named(), ANYONE) == kept().head
        assert again.lists.read(catalog, ANYONE) == kept(body=b"catalog")
        for name, label in (
            (named(), "account=robot"),
            (named("n=1"), ANYONE),
            (named(repository="team/sibling"), ANYONE),
        ):
            assert again.lists.head(name, label) is None
            assert again.lists.read(name, label) is None


def test_the_query_is_nowhere_on_the_disk(store: Store, tmp_path: Path) -> None:
    """It may hold a token."""
    store.lists.put(named("token=SECRET"), ANYONE, kept())
    store.close()
    assert not any(b"SECRET" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_what_is_forgotten_is_gone(store: Store) -> None:
    """One, or all of a label in a repository; nobody else's."""
    names = [named(), named("n=1"), named(repository="team/sibling")]
    for name in names:
        for label in (ANYONE, "account=robot"):
            store.lists.put(name, label, kept())
    store.lists.forget(names[0], ANYONE)
    assert [store.lists.labels(name) for name in names] == [
        ["account=robot"],
        ["account=robot", ANYONE],
        ["account=robot", ANYONE],
    ]
    store.lists.forget_all(REGISTRY, "team/app", "account=robot")
    assert [store.lists.labels(name) for name in names] == [
        [],
        [ANYONE],
        ["account=robot", ANYONE],
    ]


def test_a_refusal_of_the_repository_ends_its_lists(store: Store, clock: Clock) -> None:
    """For the label that was refused, until it is told anew."""
    for label in (ANYONE, "account=robot"):
        store.lists.put(named(), label, kept())
    clock.now += 1
    store.decisions.set_refused(APP, ANYONE)
    assert store.lists.head(named(), ANYONE) is None
    assert store.lists.head(named(), "account=robot") is not None
    store.lists.put(named(), ANYONE, kept(clock.now + 1))
    assert store.lists.head(named(), ANYONE) is not None
    assert SIBLING.name not in str(store.lists.labels(named()))


def test_a_list_that_is_as_it_was_is_not_written_again(store: Store) -> None:
    """Its time is, and what the registry says of it."""
    store.lists.put(named(), ANYONE, kept())
    changed = KeptList.of(200, (("ETag", '"2"'),), BODY, 2e9)
    store.lists.put(named(), ANYONE, changed)
    assert store.lists.read(named(), ANYONE) == changed
    store.lists.confirm(named(), ANYONE, kept(3e9).head)
    assert store.lists.read(named(), ANYONE) == kept(3e9)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("value", b"damaged"),
        ("value", "text"),
        ("tag", "{}"),
        ("tag", "no JSON"),
        ("tag", '{"status": 200, "headers": [["a"]], "checked": 1, "hash": ""}'),
        ("tag", None),
    ],
)
def test_a_damaged_row_is_no_list(store: Store, column: str, value: object) -> None:
    """It is removed, and what the registry says next is kept."""
    store.lists.put(named(), ANYONE, kept())
    sql = store._blob_cache._sql  # noqa: SLF001
    sql(f"UPDATE Cache SET {column} = ? WHERE key >= 'list '", (value,))  # noqa: S608
    assert store.lists.read(named(), ANYONE) is None
    assert store.lists.head(named(), ANYONE) is None
    store.lists.put(named(), ANYONE, kept())
    assert store.lists.read(named(), ANYONE) == kept()


def test_lists_are_bounded_in_number(store: Store) -> None:
    """Who asks for ever new pages pushes out other pages, and no blob."""
    deliver(store, APP)
    rows = ListRows(store._blob_cache, LIMIT, most=5)  # noqa: SLF001
    for number in range(9):
        name = named(f"n={number}")
        rows.put(keys.kept_list(REGISTRY, name.place, ANYONE, name.which), kept())
    found = [n for n in range(9) if store.lists.head(named(f"n={n}"), ANYONE)]
    assert len(found) == 5
    assert content(store, APP, DIGEST) is not None


def test_lists_are_bounded_in_bytes(store: Store) -> None:
    """A thirty-second of the limit, that used least recently first; none beyond that."""
    size = LIMIT // 32 // 4
    for number in range(6):
        body = json.dumps([number, "x" * (size - 20)]).encode()
        assert store.lists.put(named(f"n={number}"), ANYONE, kept(body=body))
    found = [n for n in range(6) if store.lists.head(named(f"n={n}"), ANYONE)]
    assert len(found) == 4
    assert not store.lists.put(named(), ANYONE, kept(body=bytes(LIMIT // 32 + 1)))
    assert store.lists.head(named(), ANYONE) is None


def test_what_does_not_fit_replaces_nothing_with_what_was(store: Store) -> None:
    """A list that grew too large is not the one that it was."""
    store.lists.put(named(), ANYONE, kept())
    assert not store.lists.put(named(), ANYONE, kept(body=bytes(LIMIT)))
    assert store.lists.head(named(), ANYONE) is None

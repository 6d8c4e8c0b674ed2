"""What a store lists: what anybody may have, and nothing that shows who pulled what."""

import itertools
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.protocol.account import ANYONE, Account
from entrepot.protocol.identifiers import Digest, Origin, Repository, Tag
from entrepot.storage.store import Store

HUB = Origin("https", "registry-1.docker.io", 443)
OTHER = Origin("https", "registry-1.docker.io", 4430)
DIGEST = Digest.of(b"{}")
FLEET = Account("fleet of one").label


def anybody(_name: str) -> set[str]:
    return {ANYONE}


@pytest.fixture
def now() -> list[float]:
    return [1e9]


@pytest.fixture
def store(tmp_path: Path, now: list[float]) -> Iterator[Store]:
    with closing(opened(tmp_path, now)) as store:
        yield store


def opened(folder: Path, now: list[float], tick: float = 0.0) -> Store:
    """A store whose turns end by a clock that goes on by ``tick`` seconds when it is looked at."""
    steady = itertools.count(0.0, tick)
    return Store(folder / "data", 10**9, clock=lambda: now[0], steady=lambda: next(steady))


def pulled(
    store: Store,
    name: str,
    tag: str = "1",
    *,
    given_to: str | None = ANYONE,
    origin: Origin = HUB,
) -> Repository:
    """Keep a manifest and what its tag is, as a pull does."""
    repository = Repository(origin, name)
    store.manifests.put(repository, DIGEST, b"{}", "application/json", given_to=given_to)
    store.tags.set(repository, tag, "*/*", DIGEST)
    return repository


def names(store: Store, origin: Origin = HUB, after: str = "", most: int = 100) -> list[str]:
    found, _ = store.catalog.repositories(origin, anybody, after, most)
    return found


def tags(store: Store, repository: Repository, after: str = "") -> list[str]:
    found, _ = store.catalog.tags(repository, anybody, after, 100)
    return found


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert store.catalog.origins(10) == []
    assert store.catalog.repositories(HUB, anybody, "", 10) == ([], None)
    assert store.catalog.tags(Repository(HUB, "a"), anybody, "", 10) == ([], None)


def test_repositories_come_in_the_order_of_their_names(store: Store) -> None:
    """However the names begin with each other; each registry has its own."""
    for name in ("b", "a/b", "a", "a-b", "a.b", "ab", "a/b/c"):
        pulled(store, name)
    pulled(store, "elsewhere", origin=OTHER)
    assert names(store) == ["a", "a-b", "a.b", "a/b", "a/b/c", "ab", "b"]
    assert names(store, OTHER) == ["elsewhere"]
    assert sorted(store.catalog.origins(10), key=str) == sorted([HUB, OTHER], key=str)


def test_a_page_begins_after_any_text(store: Store) -> None:
    for name in ("a", "b", "c"):
        pulled(store, name)
    assert store.catalog.repositories(HUB, anybody, "", 2) == (["a", "b"], "b")
    assert store.catalog.repositories(HUB, anybody, "b", 2) == (["c"], None)
    assert names(store, after="a-not-there") == ["b", "c"]
    assert names(store, after="zz") == []
    assert names(store, after="b %_'\"\0") == ["c"]


def test_what_was_pulled_with_a_login_does_not_show(store: Store) -> None:
    """Promise 2: neither a repository nor a tag that nobody anonymous was given."""
    private = pulled(store, "acme/secret", given_to=None)
    half = pulled(store, "acme/half")
    other = Digest.of(b"[]")
    store.manifests.put(half, other, b"[]", "application/json", given_to=None)
    store.tags.set(half, "internal", "*/*", other)
    assert names(store) == ["acme/half"]
    assert tags(store, half) == ["1"]
    assert tags(store, private) == []


def test_what_an_account_was_given_shows_to_whom_it_is_given(
    store: Store, now: list[float]
) -> None:
    """Until the account is refused the repository; and no other account's."""
    pulled(store, "open")
    private = pulled(store, "acme/secret", given_to=FLEET)
    pulled(store, "acme/others", given_to=Account("other").label)
    now[0] += 1

    def fleet(name: str) -> set[str]:
        return {ANYONE, FLEET} if name.startswith("acme/") else {ANYONE}

    assert names(store) == ["open"]
    assert store.catalog.repositories(HUB, fleet, "", 10) == (["acme/secret", "open"], None)
    assert store.catalog.tags(private, fleet, "", 10)[0] == ["1"]
    store.decisions.set_refused(private, FLEET)
    assert store.catalog.repositories(HUB, fleet, "", 10) == (["open"], None)
    assert store.catalog.tags(private, fleet, "", 10)[0] == []


def test_what_was_deleted_does_not_show(store: Store) -> None:
    """Whoever it was given to."""
    repository = pulled(store, "app")
    pulled(store, "app", given_to=FLEET)
    store.links.remove(repository, DIGEST)
    assert store.catalog.repositories(HUB, lambda _: {ANYONE, FLEET}, "", 10) == ([], None)


def test_what_such_were_told_is_gone_does_not_show_to_them(store: Store) -> None:
    """To others it does."""
    repository = pulled(store, "app")
    pulled(store, "app", given_to=FLEET)
    store.decisions.set_gone(repository, DIGEST, ANYONE)
    assert names(store) == []
    assert store.catalog.repositories(HUB, lambda _: {FLEET}, "", 10) == (["app"], None)


def test_what_was_closed_since_does_not_show(store: Store, now: list[float]) -> None:
    """A refusal to somebody anonymous hides a repository, until it is given again."""
    repository = pulled(store, "app")
    now[0] += 1
    store.decisions.set_refused(repository, ANYONE)
    assert (names(store), tags(store, repository)) == ([], [])
    now[0] += 1
    pulled(store, "app")
    assert (names(store), tags(store, repository)) == (["app"], ["1"])


def test_a_tag_that_is_gone_does_not_show_to_who_was_told_so(store: Store) -> None:
    """Until it was said again what it is; to others it shows all the time, as does the rest."""
    repository = pulled(store, "app")
    pulled(store, "app", "2", given_to=FLEET)
    seen_as = {"anybody": {ANYONE}, "the account": {FLEET}}

    def shown() -> dict[str, list[str]]:
        return {
            name: store.catalog.tags(repository, lambda _, labels=labels: labels, "", 9)[0]  # type: ignore[misc]
            for name, labels in seen_as.items()
        }

    assert shown() == {"anybody": ["1", "2"], "the account": ["1", "2"]}
    store.decisions.set_gone(repository, Tag("1"), ANYONE)
    assert shown() == {"anybody": ["2"], "the account": ["1", "2"]}
    assert names(store) == ["app"]
    store.decisions.set_found(repository, Tag("1"), ANYONE)
    assert shown() == {"anybody": ["1", "2"], "the account": ["1", "2"]}


def test_an_object_that_is_gone_does_not_show_to_who_was_told_so(store: Store) -> None:
    """Nor the repository, where it was all of it; to others it does."""
    repository = pulled(store, "app")
    pulled(store, "app", given_to=FLEET)
    store.decisions.set_gone(repository, DIGEST, ANYONE)
    assert (names(store), tags(store, repository)) == ([], [])
    assert store.catalog.repositories(HUB, lambda _: {FLEET}, "", 9)[0] == ["app"]
    pulled(store, "app")
    assert (names(store), tags(store, repository)) == (["app"], ["1"])


def test_what_is_held_no_more_does_not_show(store: Store) -> None:
    """A manifest that was evicted cannot be pulled from here."""
    repository = pulled(store, "app")
    path = store.folder / "blobs" / "cache.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM Cache")
    assert (names(store), tags(store, repository)) == ([], [])


def test_what_was_not_used_for_long_does_not_show(store: Store, now: list[float]) -> None:
    """Nor does a row that has expired and is there yet."""
    repository = pulled(store, "app")
    with closing(sqlite3.connect(store.folder / "index" / "cache.db")) as database, database:
        database.execute("UPDATE Cache SET expire_time = ?", (now[0] - 1,))
    assert (names(store), tags(store, repository)) == ([], [])


def test_damaged_rows_are_passed_over(store: Store) -> None:
    """Whatever is in a row, a list ends, and has what is sound."""
    repository = pulled(store, "app")
    store.tags.set(repository, "2", "*/*", DIGEST)
    keys = [
        b"shown ",
        b"shown \xf0\xff",
        b"shown x y z",
        b"shown https://registry-1.docker.io",
        b"shown https://registry-1.docker.io \xf5\xf5 anyone z",
        b"shown https://registry-1.docker.io UPPER anyone z",
        b"shown https://registry-1.docker.io app anyone \x01\xff",
        b"shown https://registry-1.docker.io app anyone z",
        b"shown https://registry-1.docker.io app z",
        b"tag https://registry-1.docker.io app \xff",
        b"tag https://registry-1.docker.io app 0",
    ]
    with closing(sqlite3.connect(store.folder / "index" / "cache.db")) as database, database:
        for key in keys:
            database.execute(
                "INSERT INTO Cache (key, raw, mode, value) VALUES (CAST(? AS TEXT), 1, 3, 'no')",
                (key,),
            )
    assert store.catalog.origins(100) == [HUB]
    assert names(store) == ["app"]
    assert tags(store, repository) == ["1", "2"]


def count(store: Store, kind: str) -> int:
    with closing(sqlite3.connect(store.folder / "index" / "cache.db")) as database:
        found = database.execute("SELECT COUNT(*) FROM Cache WHERE key LIKE ?", (f"{kind} %",))
        return int(found.fetchone()[0])


def add_rows(store: Store, keys: Iterable[str], value: str) -> None:
    rows = ((key, value) for key in keys)
    with closing(sqlite3.connect(store.folder / "index" / "cache.db")) as database, database:
        database.executemany("INSERT INTO Cache (key, raw, mode, value) VALUES (?, 1, 1, ?)", rows)


def test_what_is_of_no_use_is_looked_at_once(tmp_path: Path, now: list[float]) -> None:
    """Manifests that were evicted, by the thousand: each turn is short, the next has less to do."""
    with closing(opened(tmp_path, now, tick=0.002)) as store:
        for name in ("a", "b", "c"):
            pulled(store, name)
        gone = (f"shown {HUB} b {ANYONE} sha256:{number:064x}" for number in range(1000))
        add_rows(store, gone, "2e9")
        found, last, turns = list[str](), [""], 0
        while last:
            left = count(store, "shown")
            more, after = store.catalog.repositories(HUB, anybody, last[-1], 200)
            assert left - 200 < count(store, "shown") <= left
            turns, found, last = turns + 1, found + more, [] if after is None else [after]
        assert turns > 5
        assert found == ["a", "b", "c"]
        assert count(store, "shown") < 1000


def test_what_an_earlier_version_wrote_shows(tmp_path: Path, now: list[float]) -> None:
    """Its rows are taken over in turns, once: those of manifests, to whomever they were given."""
    with closing(opened(tmp_path, now)) as store:
        for number in range(200):
            pulled(store, f"app{number}")
        secret = pulled(store, "app-secret", given_to=FLEET)
        blob = Digest.of(b"blob")
        path = store.partials.download(HUB, blob)
        path.write_bytes(b"blob")
        store.blobs.commit(path, Repository(HUB, "a-blob"), blob, "a/b", given_to=ANYONE)
        add_rows(store, [f"given {HUB} x y z", f"given {HUB}", "given "], "1")
    with closing(sqlite3.connect(tmp_path / "data/index/cache.db")) as database, database:
        database.execute("DELETE FROM Cache WHERE key = 'shown' OR key LIKE 'shown %'")
        end = "UPDATE Cache SET expire_time = 1 WHERE key LIKE 'given % app7 %'"
        database.execute(end)
    with closing(opened(tmp_path, now, tick=0.004)) as store:
        turns = next(number for number in itertools.count() if store.catalog.prepare())
        assert turns > 0
        assert count(store, "shown") == 200
    with closing(opened(tmp_path, now)) as store:
        listed, _ = store.catalog.repositories(HUB, lambda _: {ANYONE, FLEET}, "", 1000)
        assert listed == sorted([*(f"app{n}" for n in range(200) if n != 7), secret.name])
        assert store.catalog.prepare()


def test_a_page_costs_the_same_among_many(store: Store) -> None:
    """It reads ranges of the key, whatever else there is: 200,000 rows stay unread."""
    pulled(store, "a")
    pulled(store, "z")
    rows = ((f"shown {OTHER} app{n} anyone {DIGEST}",) for n in range(100_000))
    with closing(sqlite3.connect(store.folder / "index" / "cache.db")) as database, database:
        database.executemany(
            "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 1, 3, '1')", rows
        )
        database.execute("ANALYZE")
        plan = [
            str(step[3])
            for step in database.execute(
                "EXPLAIN QUERY PLAN SELECT key FROM Cache WHERE key >= ? AND key < ? AND raw = 1"
                " ORDER BY key LIMIT 1",
                ("a", "b"),
            )
        ]
    assert all("USING" in step and "INDEX Cache_key_raw" in step for step in plan), plan
    began = time.process_time()
    assert names(store) == ["a", "z"]
    assert len(store.catalog.origins(10)) == 2
    assert time.process_time() - began < 1, "it read them all"

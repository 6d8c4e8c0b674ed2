"""The images of a store: what each is made of, counted as it is on the disk."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.protocol.image_names import ImageName
from entrepot.storage.inventory.images import InventoryError, SortBy
from entrepot.storage.inventory.selection import Selection
from entrepot.storage.store import Store
from unit.storage.capacity.world import touch
from unit.storage.inventory.world import (
    ACCEPT,
    INDEX,
    MANIFEST,
    image,
    index,
    listed,
    pull,
    put,
)
from unit.storage.world import APP, LIMIT, SIBLING, STRANGER, Clock, content, deliver, write

BASE, TOP, OTHER = b"base" * 1000, b"top" * 700, b"other" * 500
ONE = image(BASE, TOP)
TWO = image(BASE, OTHER)
ONE_NAME, TWO_NAME = "registry.example.test/team/app:1", "registry.example.test/team/sibling:2"


def test_an_empty_store_has_no_images(store: Store) -> None:
    page = store.inventory.page(Selection.filtered(""))
    assert (page.images, page.totals.images, page.totals.size) == ((), 0, 0)


def test_images_are_what_was_pulled(store: Store, clock: Clock) -> None:
    """Of two that share a layer, each has its whole size, and both together count it once."""
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, TWO, "2")
    found = listed(store)
    assert list(found) == [ONE_NAME, TWO_NAME]
    one = found[ONE_NAME]
    assert (one.size, one.freed) == (ONE.size, ONE.size - len(BASE))
    assert (one.registry, one.repository, one.tags) == ("registry.example.test", "team/app", ("1",))
    assert (one.digest, one.media_type, one.platforms) == (ONE.digest, MANIFEST, ("linux/amd64",))
    assert (one.complete, one.pinned) == (True, False)
    assert abs(one.stored - clock()) < 600
    totals = store.inventory.page(Selection.filtered("")).totals
    assert (totals.images, totals.size) == (2, ONE.size + TWO.size - len(BASE))
    assert totals.other == 0
    alone = store.inventory.page(Selection.filtered("sibling")).totals
    assert (alone.images, alone.size) == (1, TWO.size)


def test_a_digest_in_two_repositories_is_two_images(store: Store) -> None:
    """Of which neither frees anything alone; each registry has a manifest of its own."""
    for repository in (APP, SIBLING, STRANGER):
        pull(store, repository, ONE, "1")
    found = listed(store)
    assert len(found) == 3
    assert [one.freed for one in found.values()] == [len(ONE.content), 0, 0]
    totals = store.inventory.page(Selection.filtered("")).totals
    assert totals.size == ONE.size + len(ONE.content)


def test_an_index_is_one_image(store: Store) -> None:
    """Of the platforms that were pulled, which have no line of their own."""
    arm = image(BASE, OTHER, arch="arm64")
    whole = index(ONE, arm)
    pull(store, APP, whole, "latest", only=(arm,))
    ((name, found),) = listed(store).items()
    assert name == "registry.example.test/team/app:latest"
    assert found.size == arm.size + len(whole.content)
    assert (found.platforms, found.complete, found.media_type) == (("linux/arm64",), True, INDEX)
    pull(store, APP, ONE)
    (found,) = listed(store).values()
    assert (found.platforms, found.size) == (("linux/amd64", "linux/arm64"), whole.size)


def test_a_platform_with_a_tag_of_its_own_is_an_image_too(store: Store) -> None:
    whole = index(ONE, TWO)
    pull(store, APP, whole, "latest")
    store.tags.set(APP, "amd64", MANIFEST, ONE.digest)
    found = listed(store)
    assert [one.tags for one in found.values()] == [("amd64",), ("latest",)]
    assert [one.freed for one in found.values()] == [0, whole.size - ONE.size]


def test_what_lacks_a_part_is_incomplete(store: Store) -> None:
    """Also an index of which no image was pulled."""
    put(store, APP, ONE)
    deliver(store, APP, BASE)
    pull(store, SIBLING, index(TWO), "2", only=())
    found = listed(store)
    assert [one.complete for one in found.values()] == [False, False]
    assert next(iter(found)) == f"registry.example.test/team/app@{ONE.digest}"


def test_a_tag_that_moved_leaves_its_image_untagged(store: Store, clock: Clock) -> None:
    """What it is now has the tag, whatever else it was to other clients."""
    pull(store, APP, ONE, "1")
    store.tags.set(APP, "same", ACCEPT, ONE.digest)
    clock.now += 5
    pull(store, APP, TWO)
    store.tags.set(APP, "1", MANIFEST, TWO.digest)
    found = listed(store)
    assert {one.digest: one.tags for one in found.values()} == {
        ONE.digest: ("same",),
        TWO.digest: ("1",),
    }


def test_blobs_without_a_manifest_are_in_no_image(store: Store) -> None:
    deliver(store, APP, BASE)
    pull(store, SIBLING, TWO, "2")
    deliver(store, APP, b"alone" * 100)
    totals = store.inventory.page(Selection.filtered("")).totals
    assert (totals.images, totals.size, totals.other) == (1, TWO.size, 500)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 3),
        ("team/app", 2),
        ("app:1", 1),
        ("other.example", 1),
        ("sibling", 1),
        ("*sibling*", 1),
        ("registry.example.test/team/*", 2),
        ("*:?", 3),
        (str(ONE.digest)[:20], 1),
        (f"@{ONE.digest}"[:20], 1),
        ("nowhere", 0),
        ("' OR 1 --", 0),
        ("[a-z]*", 0),
    ],
)
def test_a_filter_is_a_part_of_a_name_or_a_pattern(store: Store, text: str, count: int) -> None:
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, TWO, "2")
    pull(store, STRANGER, TWO, "3")
    assert len(listed(store, text)) == count


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("registry.example.test/team/app:1", 1),
        ("registry.example.test/team/app", 1),
        ("registry.example.test/team/", 2),
        ("registry.example.test/te", 0),
        ("registry.example.test/", 2),
        (f"registry.example.test/team/app@{ONE.digest}", 1),
        (f"registry.example.test/team/app@{TWO.digest}", 0),
        ("registry.example.test/team/app:2", 0),
        ("team/app:1", 0),
    ],
)
def test_a_name_is_an_image_or_those_below_it(store: Store, name: str, count: int) -> None:
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, TWO, "2")
    page = store.inventory.page(Selection.named(ImageName.parse(name)))
    assert len(page.images) == page.totals.images == count


def test_docker_hub_is_called_as_everybody_calls_it(store: Store) -> None:
    hub = Repository(Origin("https", "registry-1.docker.io", 443), "library/redis")
    pull(store, hub, ONE, "7")
    assert list(listed(store, "redis:7")) == ["docker.io/library/redis:7"]
    assert store.inventory.details(ImageName.parse("redis:7"))


def test_pages_and_orders(store: Store) -> None:
    """Each image once, however they are ordered."""
    for number in range(5):
        made = image(bytes([number]) * (1000 * (number % 3 + 1)))
        pull(store, APP, made, f"t{number}")
        key = f"manifest {APP.origin} {made.digest}"
        touch(store._blob_cache, key, 1000.0 + (number * 7) % 5)  # noqa: SLF001
    orders = {
        SortBy.NAME: ["t0", "t1", "t2", "t3", "t4"],
        SortBy.SIZE: ["t2", "t1", "t4", "t0", "t3"],
        SortBy.USED: ["t2", "t4", "t1", "t3", "t0"],
    }
    for sort, tags in orders.items():
        everything = Selection.filtered("")
        pages = [store.inventory.page(everything, sort, offset=n, most=2) for n in (0, 2, 4)]
        assert [one.tags[0] for page in pages for one in page.images] == tags
        assert {page.totals.images for page in pages} == {5}


def test_details_are_the_objects_of_an_image(store: Store) -> None:
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, TWO, "2")
    ((found, objects),) = store.inventory.details(ImageName.parse(ONE_NAME))
    assert sum(one.size for one in objects) == found.size
    assert {one.digest: one.images for one in objects if one.kind == "blob"}[
        str(Digest.of(BASE))
    ] == 2
    assert objects[0].kind == "manifest"
    with pytest.raises(InventoryError, match=r"docker.io/library/redis:7: not cached"):
        store.inventory.details(ImageName.parse("redis:7"))


def test_what_is_evicted_next_is_what_was_used_longest_ago(store: Store) -> None:
    pull(store, APP, ONE, "1")
    deliver(store, APP, OTHER)
    touch(store._blob_cache, f"blob {Digest.of(TOP)}", 1.0)  # noqa: SLF001
    touch(store._blob_cache, f"blob {Digest.of(OTHER)}", 2.0)  # noqa: SLF001
    first, second, *_ = store.inventory.next_evicted(10)
    assert (first.digest, first.size, first.image) == (str(Digest.of(TOP)), len(TOP), ONE_NAME)
    assert (second.digest, second.image) == (str(Digest.of(OTHER)), "")


def test_looking_is_no_use(store: Store) -> None:
    """What is listed or shown is evicted no later for it."""
    pull(store, APP, ONE, "1")
    touch(store._blob_cache, f"manifest {APP.origin} {ONE.digest}", 5.0)  # noqa: SLF001
    (found,) = listed(store).values()
    store.inventory.details(ImageName.parse(ONE_NAME))
    assert found.used == 5.0
    assert next(iter(listed(store).values())).used == 5.0


def test_damaged_rows_are_left_out(folder: Path, store: Store) -> None:
    """One that makes no sense hides no other."""
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, TWO, "2")
    for key in ("link https://x", "tag https://x y", "link https://x \x00 sha256:", "tag  "):
        write(folder / "index", "INSERT INTO Cache (key, raw, value) VALUES (?, 1, '{')", key)
    for key in ("manifest ", "manifest https://x", f"manifest https://y {ONE.digest}", "blob "):
        write(folder / "blobs", "INSERT INTO Cache (key, raw, tag) VALUES (?, 1, '[{')", key)
    write(folder / "blobs", "INSERT INTO Cache (key, raw, tag) VALUES (?, 1, ?)", b"\xff", b"\xff")
    bad = f"link {APP.origin} no//name {TWO.digest}"
    write(folder / "index", "INSERT INTO Cache (key, raw, value) VALUES (?, 1, '1')", bad)
    assert {ONE_NAME, TWO_NAME} <= set(listed(store))
    assert len(store.inventory.next_evicted(100)) > 6
    write(folder / "blobs", "UPDATE Cache SET tag = ? WHERE key LIKE 'manifest%'", b"\xff\xfe")
    assert set(listed(store)) == {ONE_NAME, TWO_NAME}


def test_what_an_earlier_version_stored_is_read(folder: Path, store: Store) -> None:
    """Its rows do not say what manifests list."""
    pull(store, APP, ONE, "1")
    meta = json.dumps({"type": MANIFEST, "stored": 1.0})
    write(folder / "blobs", "UPDATE Cache SET tag = ? WHERE key LIKE 'manifest%'", meta)
    (found,) = listed(store).values()
    assert (found.size, found.complete) == (ONE.size, True)


def test_a_large_index_is_read_from_its_file(store: Store) -> None:
    """Manifests over 32 KiB are files."""
    many = index(*([ONE] * 400), archs=("amd64",) * 400)
    assert len(many.content) > 32 * 1024
    pull(store, APP, many, "big", only=(ONE,))
    (found,) = listed(store).values()
    assert (found.platforms, found.size) == (("linux/amd64",), len(many.content) + ONE.size)


def test_a_store_that_only_looks_evicts_nothing(folder: Path) -> None:
    """Whatever the limit of the proxy was, which it knows."""
    with closing(Store(folder, LIMIT)) as store:
        pull(store, APP, ONE, "1")
    with closing(Store(folder, 100, trims=False)) as store:
        assert list(listed(store)) == [ONE_NAME]
        assert content(store, APP, Digest.of(BASE)) == BASE
        assert store.limit_in_force == LIMIT

"""What is removed is gone with all that only it was made of, and nothing else is."""

import pytest

from entrepot.protocol.identifiers import Digest
from entrepot.protocol.image_names import ImageName
from entrepot.storage.inventory.images import InventoryError
from entrepot.storage.inventory.inventory import steps
from entrepot.storage.store import Store
from unit.storage.inventory.world import image, index, listed, pin, pull, remove
from unit.storage.world import APP, SIBLING, STRANGER, content, deliver, linked, value_files

BASE, TOP, OTHER = b"base" * 1000, b"top" * 700, b"other" * 500
ONE = image(BASE, TOP)
TWO = image(BASE, OTHER)
ONE_NAME, TWO_NAME = "registry.example.test/team/app:1", "registry.example.test/team/sibling:2"


def test_what_is_shared_stays(store: Store) -> None:
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, TWO, "2")
    assert remove(store, ONE_NAME) == ONE.size - len(BASE)
    assert list(listed(store)) == [TWO_NAME]
    assert content(store, APP, Digest.of(TOP)) is None
    assert content(store, SIBLING, Digest.of(BASE)) == BASE
    assert linked(store, APP, Digest.of(BASE)) is False
    assert store.manifests.find(APP, ONE.digest) is None
    assert store.tags.get(APP, "1") == {}
    assert not store.decisions.was_given(APP, ONE.digest, "anyone")
    assert remove(store, TWO_NAME) == TWO.size
    assert (listed(store), value_files(store.folder)) == ({}, [])


def test_another_repository_of_the_same_image_keeps_it(store: Store) -> None:
    """The one that is removed has no right to it any more."""
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, ONE, "1")
    assert remove(store, ONE_NAME) == 0
    assert list(listed(store)) == ["registry.example.test/team/sibling:1"]
    found = store.manifests.find(APP, ONE.digest)
    assert found is not None
    assert not found.linked
    assert linked(store, SIBLING, Digest.of(TOP)) is True


def test_an_index_goes_with_its_images(store: Store) -> None:
    """But for one that has a tag of its own."""
    whole = index(ONE, TWO)
    pull(store, APP, whole, "latest")
    store.tags.set(APP, "amd64", "a/b", ONE.digest)
    assert remove(store, "registry.example.test/team/app:latest") == whole.size - ONE.size
    ((name, found),) = listed(store).items()
    assert (name, found.complete) == ("registry.example.test/team/app:amd64", True)


def test_an_images_of_a_shared_index_leave_no_line_behind(store: Store) -> None:
    """The manifests stay for the other repository, and are no images of this one."""
    whole = index(ONE, TWO)
    pull(store, APP, whole, "1")
    pull(store, SIBLING, whole, "1")
    remove(store, "registry.example.test/team/app:1")
    assert list(listed(store)) == ["registry.example.test/team/sibling:1"]


def test_one_of_several_tags_is_forgotten_alone(store: Store) -> None:
    pull(store, APP, ONE, "1")
    store.tags.set(APP, "1.0", "a/b", ONE.digest)
    assert remove(store, ONE_NAME) == 0
    ((name, found),) = listed(store).items()
    assert (name, found.tags) == ("registry.example.test/team/app:1.0", ("1.0",))
    store.tags.set(APP, "1", "a/b", ONE.digest)
    assert remove(store, ONE_NAME, "registry.example.test/team/app:1.0") == ONE.size
    assert listed(store) == {}


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("registry.example.test/team/app", 3),
        ("registry.example.test/team/", 1),
        ("registry.example.test/", 1),
        ("other.example.test/", 3),
    ],
)
def test_a_whole_repository_or_registry_goes(store: Store, name: str, left: int) -> None:
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, TWO, "2")
    pull(store, SIBLING, image(OTHER), "3")
    pull(store, STRANGER, TWO, "2")
    remove(store, name)
    assert len(listed(store)) == left
    assert all(one.complete for one in listed(store).values())


def test_what_is_not_cached_is_said_before_anything_goes(store: Store) -> None:
    pull(store, APP, ONE, "1")
    with pytest.raises(InventoryError, match=r"docker.io/library/redis:7: not cached") as error:
        remove(store, ONE_NAME, "redis:7")
    assert error.value.code == "not_cached"
    assert list(listed(store)) == [ONE_NAME]


def test_a_plan_removes_nothing(store: Store) -> None:
    """What it says is what happens then."""
    pull(store, APP, ONE, "1")
    removal = store.inventory.removal([ImageName.parse(ONE_NAME)])
    assert removal.size == ONE.size
    assert list(listed(store)) == [ONE_NAME]
    assert remove(store, ONE_NAME) == removal.size


def test_a_removal_that_was_broken_off_can_be_asked_for_again(store: Store) -> None:
    """After each of its steps the store is sound, and the image is there until its last object."""
    objects = len(ONE.blobs) + 1
    for done in range(objects):
        pull(store, APP, ONE, "1")
        pull(store, SIBLING, TWO, "2")
        removal = store.inventory.removal([ImageName.parse(ONE_NAME)])
        for step in range(done):
            store.inventory._remove(removal, step)  # noqa: SLF001 as a kill leaves it
        found = listed(store)
        assert set(found) == {ONE_NAME, TWO_NAME} if done < len(removal.keys) else {TWO_NAME}
        assert found[TWO_NAME].complete
        if ONE_NAME in found:
            assert found[ONE_NAME].complete == (done == 0)
            remove(store, ONE_NAME)
        assert list(listed(store)) == [TWO_NAME]


def test_what_was_used_again_meanwhile_is_no_failure(store: Store) -> None:
    """Rows that are gone by now are passed over."""
    pull(store, APP, ONE, "1")
    removal = store.inventory.removal([ImageName.parse(ONE_NAME)])
    remove(store, ONE_NAME)
    deliver(store, APP, TOP)
    done = 0
    while done < steps(removal):
        done = store.inventory.remove_some(removal, done)
    assert listed(store) == {}


def test_a_pinned_image_is_not_removed(store: Store) -> None:
    pull(store, APP, ONE, "1")
    pin(store, ONE_NAME)
    with pytest.raises(InventoryError, match="it is pinned; unpin it first"):
        remove(store, "registry.example.test/")
    pin(store, ONE_NAME, pinned=False)
    assert remove(store, "registry.example.test/") == ONE.size

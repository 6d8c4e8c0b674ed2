"""What goes by rule, and what stays."""

import pytest

from entrepot.storage.inventory.inventory import steps
from entrepot.storage.inventory.prune import PruneRules, Pruning
from entrepot.storage.store import Store
from unit.storage.inventory.world import image, index, listed, pin, pull
from unit.storage.world import APP, DAY, SIBLING, Clock

BASE = b"base" * 1000
APPS = "registry.example.test/team/app"
SIBLINGS = "registry.example.test/team/sibling"


@pytest.fixture
def five(store: Store) -> Store:
    """Five versions of an image and one of another, all on one base."""
    for number in range(5):
        pull(store, APP, image(BASE, b"app%d" % number), str(number))
    pull(store, SIBLING, image(BASE, b"sibling"), "1")
    return store


def prune(store: Store, rules: PruneRules, text: str = "") -> Pruning:
    pruning = store.inventory.pruning(text, rules)
    done = 0
    while done < steps(pruning.removal):
        done = store.inventory.remove_some(pruning.removal, done)
    return pruning


def names(store: Store) -> set[str]:
    return {
        f"{one.registry}/{one.repository}:{tag}"
        for one in listed(store).values()
        for tag in one.tags
    }


def test_the_last_of_each_repository_stay(five: Store) -> None:
    """What they share is counted as free only where it goes."""
    pruning = prune(five, PruneRules(keep_last=2))
    assert names(five) == {f"{APPS}:3", f"{APPS}:4", f"{SIBLINGS}:1"}
    gone = [image(BASE, b"app%d" % number) for number in range(3)]
    assert pruning.removal.size == sum(one.size - len(BASE) for one in gone)
    assert all(one.complete for one in listed(five).values())
    assert prune(five, PruneRules(keep_last=0)).pinned == ()
    assert names(five) == set()


def test_a_rule_that_keeps_is_enough(five: Store, clock: Clock) -> None:
    """An image goes where no rule that is given keeps it."""
    assert prune(five, PruneRules(older_than=DAY)).removal.images == ()
    clock.now += 2 * DAY
    assert prune(five, PruneRules(older_than=DAY, unused_for=3 * DAY)).removal.images == ()
    pull(five, APP, image(BASE, b"app1"), "1")  # it is stored anew
    assert len(prune(five, PruneRules(older_than=DAY, keep_last=4)).removal.images) == 1
    assert names(five) == {f"{APPS}:{n}" for n in "1234"} | {f"{SIBLINGS}:1"}


def test_a_filter_narrows_it(five: Store) -> None:
    prune(five, PruneRules(keep_last=0), "team/sib*")
    assert len(names(five)) == 6
    prune(five, PruneRules(keep_last=0), "*/sibling:*")
    prune(five, PruneRules(keep_last=1), "*/app:[0-9]")
    assert names(five) == {f"{APPS}:{n}" for n in range(5)}
    prune(five, PruneRules(keep_last=1), "*/app:?")
    assert names(five) == {f"{APPS}:4"}


def test_a_tag_that_the_filter_does_not_name_keeps_its_image(five: Store) -> None:
    """The others are forgotten."""
    pull(five, APP, image(BASE, b"app0"), "stable")
    pruning = prune(five, PruneRules(keep_last=0), "*/app:?")
    assert names(five) == {f"{APPS}:stable", f"{SIBLINGS}:1"}
    assert len(pruning.removal.images) == 4


def test_a_pinned_image_stays_and_is_told(five: Store) -> None:
    """It is none of the last."""
    pin(five, f"{APPS}:0")
    pin(five, f"{APPS}:4")
    pruning = prune(five, PruneRules(keep_last=1))
    assert names(five) == {f"{APPS}:{n}" for n in "034"} | {f"{SIBLINGS}:1"}
    assert [one.tags for one in pruning.pinned] == [("0",)]


def test_an_index_goes_with_its_images(store: Store) -> None:
    whole = index(image(BASE, b"one"), image(BASE, b"two"))
    pull(store, APP, whole, "1")
    assert prune(store, PruneRules(keep_last=0)).removal.size == whole.size
    assert listed(store) == {}


def test_no_rule_is_no_pruning() -> None:
    """Else a slip of the pen would remove all."""
    with pytest.raises(ValueError, match="expected a rule: keep_last, older_than or unused_for"):
        PruneRules()

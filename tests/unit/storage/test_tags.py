"""What a tag last was, for each Accept."""

from entrepot.protocol.identifiers import Digest
from entrepot.storage.store import Store
from unit.storage.world import APP, DIGEST, SIBLING, STRANGER, Clock


def test_a_tag_is_what_it_last_was(store: Store, clock: Clock) -> None:
    """Digest and time of the last word, for this repository and Accept only."""
    store.tags.set(APP, "1", "a/b", Digest.of(b"old"))
    clock.now += 5
    store.tags.set(APP, "1", "a/b", DIGEST)
    entry = store.tags.get(APP, "1").get("a/b")
    assert entry is not None
    assert (entry.digest, entry.checked) == (str(DIGEST), clock.now)
    assert store.tags.get(APP, "1").get("*/*") is None
    assert store.tags.get(APP, "2").get("a/b") is None
    assert store.tags.get(SIBLING, "1").get("a/b") is None
    assert store.tags.get(STRANGER, "1").get("a/b") is None


def test_a_tag_is_kept_for_sixteen_accepts(store: Store) -> None:
    """The seventeenth replaces the one that was said longest ago."""
    for number in range(16):
        store.tags.set(APP, "1", f"a/{number}", DIGEST)
    store.tags.set(APP, "1", "a/0", DIGEST)
    store.tags.set(APP, "1", "a/16", DIGEST)
    kept = {number for number in range(17) if store.tags.get(APP, "1").get(f"a/{number}")}
    assert kept == set(range(17)) - {1}


def test_a_forgotten_tag_is_forgotten_under_every_accept(store: Store) -> None:
    """A push moves the tag for all."""
    store.tags.set(APP, "1", "a/b", DIGEST)
    store.tags.set(APP, "1", "*/*", DIGEST)
    store.tags.set(APP, "2", "*/*", DIGEST)
    store.tags.forget(APP, "1")
    assert store.tags.get(APP, "1").get("a/b") is None
    assert store.tags.get(APP, "1").get("*/*") is None
    assert store.tags.get(APP, "2").get("*/*") is not None

"""What gave way is counted at once, and gathered until somebody takes it."""

from contextlib import closing
from pathlib import Path

from entrepot.events.log import Events
from entrepot.protocol.identifiers import Digest
from entrepot.storage.capacity.evicted import Evicted, EvictedBatch
from entrepot.storage.store import Store
from unit.storage.capacity.world import touch
from unit.storage.world import APP, DAY, LIMIT, Clock, deliver

MIB = 1024 * 1024


def test_a_batch_ends_when_it_is_taken() -> None:
    """The next one begins with what gives way after that."""
    evicted = Evicted(Events())
    assert evicted.take() is None
    for is_blob, size, age in ((True, 5, 60.0), (False, 7, 5.0), (True, 1, 90.0)):
        evicted.add(is_blob=is_blob, size=size, age=age)
    assert evicted.take() == EvictedBatch(2, 1, 13, 90.0, 5.0)
    assert evicted.take() is None


def test_a_store_says_what_gave_way(folder: Path, clock: Clock) -> None:
    """How many of either, how large, and how long ago they were used."""
    events, clock.now = Events(), float(int(clock.now))
    with closing(Store(folder, LIMIT, clock, events)) as store:
        manifest = b'{"layers": []}'
        store.manifests.put(APP, Digest.of(manifest), manifest, "a/b", given_to=None)
        blobs = [deliver(store, APP, bytes([n]) * (3 * MIB)) for n in range(3)]
        for age, digest in ((3, blobs[0]), (2, blobs[1])):
            touch(store._blob_cache, f"blob {digest}", clock() - age * DAY)  # noqa: SLF001
        key = f"manifest {APP.origin} {Digest.of(manifest)}"
        touch(store._blob_cache, key, clock() - 4 * DAY)  # noqa: SLF001
        assert store.downloads.claim(store.partials.folder / "new", 6 * MIB)
        size = 6 * MIB + len(manifest)
        assert store.evicted.take() == EvictedBatch(2, 1, size, 4 * DAY, 2 * DAY)
    assert events.counts["evicted_blobs"] == 2
    assert events.counts["evicted_manifests"] == 1
    assert events.counts["evicted_bytes"] == size

"""Which hosts are registries, and until when that counts."""

from entrepot.storage.store import Store
from unit.storage.world import OTHER_REGISTRY, REGISTRY, Clock


def test_a_verdict_on_a_host_counts_for_its_time(store: Store, clock: Clock) -> None:
    """Until when is said; the row stays for longer, for when the host cannot be asked."""
    store.hosts.set(REGISTRY, registry=True, seconds=60)
    entry = store.hosts.get(REGISTRY)
    assert entry is not None
    assert (entry.registry, entry.until) == (True, clock.now + 60)
    assert store.hosts.get(OTHER_REGISTRY) is None
    clock.now += 60
    assert store.hosts.get(REGISTRY) == entry

"""What is pinned is not evicted, and leaves room for others."""

from contextlib import closing
from pathlib import Path

import pytest

from entrepot.protocol.identifiers import Digest
from entrepot.storage.capacity.download_claims import Fit
from entrepot.storage.inventory.images import InventoryError
from entrepot.storage.store import Store
from unit.storage.inventory.world import image, listed, pin, pull
from unit.storage.world import APP, LIMIT, SIBLING, Clock, content

MIB = 1024 * 1024
OLD, NEW = b"o" * (3 * MIB), b"n" * (3 * MIB)
ONE, TWO = image(OLD), image(NEW)
ONE_NAME, TWO_NAME = "registry.example.test/team/app:1", "registry.example.test/team/sibling:2"


def press(store: Store, size: int) -> int:
    """Claim room for a download."""
    return store.downloads.claim(store.partials.folder / "new", size)


def test_what_is_pinned_survives_others_that_were_used_later(folder: Path, clock: Clock) -> None:
    """Also in the next process."""
    with closing(Store(folder, LIMIT, clock)) as store:
        pull(store, APP, ONE, "1")
        pull(store, SIBLING, TWO, "2")
        assert pin(store, ONE_NAME) == ONE.size
        assert [one.pinned for one in listed(store).values()] == [True, False]
        assert str(ONE.digest) not in {one.digest for one in store.inventory.next_evicted(9)}
    with closing(Store(folder, LIMIT, clock)) as store:
        assert press(store, 6 * MIB)
        assert content(store, APP, Digest.of(OLD)) == OLD
        assert content(store, SIBLING, Digest.of(NEW)) is None
        assert listed(store)[ONE_NAME].complete


def test_what_is_not_pinned_any_more_goes(store: Store) -> None:
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, TWO, "2")
    pin(store, ONE_NAME)
    assert pin(store, ONE_NAME, pinned=False) == 0
    assert press(store, 6 * MIB)
    assert content(store, APP, Digest.of(OLD)) is None
    assert content(store, SIBLING, Digest.of(NEW)) == NEW


def test_pins_may_take_half_of_the_limit(store: Store) -> None:
    """What would be more is refused whole, and nothing changes."""
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, TWO, "2")
    pin(store, ONE_NAME)
    with pytest.raises(InventoryError, match="at most half of the limit") as error:
        pin(store, TWO_NAME)
    assert error.value.code == "too_large"
    assert [one.pinned for one in listed(store).values()] == [True, False]


def test_a_download_that_has_no_room_beside_the_pins_is_known_at_once(store: Store) -> None:
    """It is not begun, and evicts nothing."""
    pull(store, APP, ONE, "1")
    pin(store, ONE_NAME)
    path = store.partials.folder / "new"
    assert store.downloads.admit(path, 9 * MIB) is Fit.NEVER
    assert store.downloads.admit(path, 6 * MIB) is Fit.YES


def test_where_the_limit_was_lowered_no_pin_counts(folder: Path, clock: Clock) -> None:
    """Else there would be no room for anything."""
    with closing(Store(folder, LIMIT, clock)) as store:
        pull(store, APP, ONE, "1")
        pin(store, ONE_NAME)
    with closing(Store(folder, 5 * MIB, clock)) as store:
        assert press(store, 4 * MIB)
        assert content(store, APP, Digest.of(OLD)) is None

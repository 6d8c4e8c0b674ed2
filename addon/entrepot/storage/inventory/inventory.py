"""The inventory of a store: which images it holds, and which of them are to go or to stay.

Reading needs no turn of the store's thread: any thread may ask, one at a time. What is read is as
old as the pages that somebody turns at the moment, some seconds; half a minute of 10,000 images.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import diskcache

from entrepot.protocol.image_names import ImageName
from entrepot.storage.capacity.eviction import PIN_SHARE, Eviction
from entrepot.storage.diskcache_db.index_rows import IndexRows
from entrepot.storage.diskcache_db.rows import remove_damaged
from entrepot.storage.errors import Health, guarded
from entrepot.storage.inventory.images import (
    CachedImage,
    HeldObjects,
    ImageObject,
    ImagePage,
    InventoryError,
    NextEvicted,
    RegistryTotals,
    SortBy,
)
from entrepot.storage.inventory.pins import PinChange, carry_out, planned
from entrepot.storage.inventory.prune import PruneRules, Pruning, chosen
from entrepot.storage.inventory.removal import Choice, Removal, plan
from entrepot.storage.inventory.selection import Selection
from entrepot.storage.inventory.snapshot import Snapshot
from entrepot.storage.repository_links import RepositoryLinks
from entrepot.storage.tags import Tags

_FRESH_SECONDS = 5.0
_FRESH_TIMES = 20
"""A snapshot counts for 5 seconds, or for 20 times as long as it took to read."""
_TURN_SECONDS = 0.005
_MOST_NAMED = 100_000
T = TypeVar("T")


class Inventory:
    """Images by name."""

    def __init__(
        self,
        folder: Path,
        blobs: diskcache.Cache,
        index: IndexRows,
        links: RepositoryLinks,
        tags: Tags,
        eviction: Eviction,
        health: Health,
        clock: Callable[[], float],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._blobs = blobs
        self._index = index
        self._links = links
        self._tags = tags
        self._eviction = eviction
        self._health = health
        self._clock = clock
        self._steady = steady
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._stale = 0.0
        self._closed = False

    # On any thread

    @guarded
    def page(
        self, selection: Selection, sort: SortBy = SortBy.NAME, *, offset: int = 0, most: int = 100
    ) -> ImagePage:
        """Some of the images of a selection, and its sums."""
        return self._asked(lambda now: now.page(selection, sort, offset=offset, most=most))

    @guarded
    def details(self, name: ImageName) -> tuple[tuple[CachedImage, tuple[ImageObject, ...]], ...]:
        """The images that a name stands for, and what each is made of. Raises InventoryError."""

        def ask(now: Snapshot) -> tuple[tuple[CachedImage, tuple[ImageObject, ...]], ...]:
            return tuple((image, now.objects(image)) for image in _named(now, name))

        return self._asked(ask)

    @guarded
    def next_evicted(self, most: int) -> tuple[NextEvicted, ...]:
        """What gives way first when room is needed."""
        return self._asked(lambda now: now.next_evicted(most))

    @guarded
    def held(self, names: Sequence[ImageName], after: str, most: int) -> HeldObjects:
        """Some of the objects of named images, or without names of all, behind a key.

        Raises :class:`InventoryError`.
        """

        def ask(now: Snapshot) -> HeldObjects:
            images = [one for name in names for one in _named(now, name)] if names else None
            return now.held(images, after, most)

        return self._asked(ask)

    @guarded
    def images_with(self, key: str) -> tuple[str, ...]:
        """The images that an object is part of, by a name each."""
        return self._asked(lambda now: now.images_with(key))

    @guarded
    def registries(self, most: int) -> tuple[RegistryTotals, ...]:
        """How much there is of each registry."""
        return self._asked(lambda now: now.registries(most))

    @guarded
    def removal(self, names: Sequence[ImageName]) -> Removal:
        """What goes with these images, as of now. Raises :class:`InventoryError`."""
        self.forget()

        def ask(now: Snapshot) -> Removal:
            choice = Choice()
            for name in names:
                choice.add(name, _named(now, name))
            if pinned := next((image for image in choice.images if image.pinned), None):
                raise InventoryError("pinned", f"{_name(pinned)}: it is pinned; unpin it first")
            return plan(now.database, choice)

        return self._asked(ask)

    @guarded
    def pruning(self, text: str, rules: PruneRules) -> Pruning:
        """What goes by rule of the images that a filter names, as of now."""
        self.forget()
        now = self._clock()

        def ask(snapshot: Snapshot) -> Pruning:
            images = snapshot.page(Selection.filtered(text), most=_MOST_NAMED).images
            going = tuple(rules.goes(images, now))
            unpinned = (replace(one, pinned=False) for one in images)
            would = {one.number for one in rules.goes(unpinned, now)}
            pinned = tuple(one for one in images if one.pinned and one.number in would)
            return Pruning(plan(snapshot.database, chosen(going, text)), pinned)

        return self._asked(ask)

    @guarded
    def pin_change(self, names: Sequence[ImageName], limit: int | None, *, pin: bool) -> PinChange:
        """What is pinned once these images are, or are not any more, as of now.

        Raises :class:`InventoryError`, also where pins would take more than half of ``limit``.
        """
        self.forget()

        def ask(now: Snapshot) -> PinChange:
            images = {one.number: one for name in names for one in _named(now, name)}
            return planned(now.database, images.values(), pin=pin)

        change = self._asked(ask)
        if pin and limit is None:
            raise InventoryError("no_limit", "no proxy has run here, so its limit is not known")
        if pin and limit is not None and change.size > limit // PIN_SHARE:
            raise InventoryError(
                "too_large",
                f"{change.size} bytes would be pinned: at most half of the limit may be,"
                f" {limit // PIN_SHARE} bytes",
            )
        return change

    def forget(self) -> None:
        """Read anew when somebody asks next, and take no memory until then."""
        with self._lock:
            self._forget()

    def close(self) -> None:
        """Read no more: the store is about to close."""
        with self._lock:
            self._closed = True
            self._forget()

    def _asked(self, ask: Callable[[Snapshot], T]) -> T:
        with self._lock:
            if self._closed:
                raise OSError("the store is closed")
            began = self._steady()
            if self._snapshot is None or began >= self._stale:
                self._forget()
                self._snapshot = Snapshot(self._folder, self._clock())
                now = self._steady()
                self._stale = now + max(_FRESH_SECONDS, _FRESH_TIMES * (now - began))
            return ask(self._snapshot)

    def _forget(self) -> None:
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None

    # On the store's thread

    @guarded
    def remove_some(self, removal: Removal, done: int) -> int:
        """Remove for some milliseconds, after what is ``done``; how much is, of :func:`steps`."""
        until = self._steady() + _TURN_SECONDS
        while done < steps(removal):
            self._remove(removal, done)
            done += 1
            if self._steady() >= until:
                break
        return done

    @guarded
    def carry_out(self, change: PinChange) -> None:
        """Pin, or unpin."""
        carry_out(change, self._index, self._blobs)
        self._eviction.count_pinned()

    def _remove(self, removal: Removal, step: int) -> None:
        if step < len(removal.keys):
            remove_damaged(self._blobs, removal.keys[step])
            return
        step -= len(removal.keys)
        if step < len(removal.links):
            self._links.remove(*removal.links[step])
            return
        repository, tag = removal.tags[step - len(removal.links)]
        self._tags.forget(repository, tag.name)


def _named(snapshot: Snapshot, name: ImageName) -> tuple[CachedImage, ...]:
    images = snapshot.page(Selection.named(name), most=_MOST_NAMED).images
    if not images:
        raise InventoryError("not_cached", f"{name}: not cached")
    return images


def _name(image: CachedImage) -> str:
    end = f":{image.tags[0]}" if image.tags else f"@{image.digest}"
    return f"{image.registry}/{image.repository}{end}"


def steps(removal: Removal) -> int:
    """Into how many steps a removal is parted."""
    return len(removal.keys) + len(removal.links) + len(removal.tags)

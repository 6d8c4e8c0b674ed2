"""Pins: images that are not evicted, as long as they leave room for others.

A *pin* row in ``index`` says that an image is pinned; the table ``Pinned`` in ``blobs`` has the
keys of all objects that pinned images are made of, for the eviction (``capacity.eviction``). Both
are of what was here when it was pinned: a tag that moves takes no pin with it. Pins may take half
of the limit; where they take more, since it was lowered, none counts.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import diskcache

from entrepot.protocol.identifiers import Repository
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.index_rows import IndexRows
from entrepot.storage.inventory.images import CachedImage

_PINNED_IMAGES = "SELECT id FROM Image WHERE pinned"
_OBJECTS = """
SELECT key, bytes FROM Object CROSS JOIN main.Cache ON Cache.rowid = Object.number
WHERE Object.number IN (SELECT number FROM Part WHERE image IN (SELECT value FROM json_each(?)))
"""


@dataclass(frozen=True, slots=True)
class PinChange:
    """Images to be pinned, or not any more, and what is pinned after that. ``size`` is in bytes."""

    images: tuple[CachedImage, ...]
    pin: bool
    keys: tuple[str, ...]
    size: int


def planned(database: sqlite3.Connection, images: Iterable[CachedImage], *, pin: bool) -> PinChange:
    """What is pinned once these images are, or are not any more."""
    images = tuple(images)
    before = {number for (number,) in database.execute(_PINNED_IMAGES)}
    changed = {image.number for image in images}
    after = sorted(before | changed if pin else before - changed)
    rows = database.execute(_OBJECTS, (f"[{','.join(map(str, after))}]",)).fetchall()
    return PinChange(images, pin, tuple(key for key, _ in rows), sum(size for _, size in rows))


def carry_out(change: PinChange, index: IndexRows, blobs: diskcache.Cache) -> None:
    """Write it, on the store's thread. Raises what diskcache and SQLite raise."""
    for image in change.images:
        key = keys.pin(Repository(image.origin, image.repository), image.digest)
        if change.pin:
            index.keep_number(key, 1)
        else:
            index.delete(key)
    sql = blobs._sql  # noqa: SLF001 diskcache has no such call
    with blobs.transact():
        sql("DELETE FROM Pinned")
        for each in change.keys:
            sql("INSERT OR IGNORE INTO Pinned VALUES (?)", (each,))

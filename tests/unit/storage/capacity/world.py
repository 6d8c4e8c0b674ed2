"""Room for files beside the blobs of one small cache: filled, and claimed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrepot.events.log import Events
from entrepot.storage.capacity.download_claims import DownloadClaims
from entrepot.storage.capacity.draft_claims import DraftClaims
from entrepot.storage.capacity.evicted import Evicted
from entrepot.storage.capacity.eviction import Eviction
from entrepot.storage.capacity.size_limit import SizeLimit
from entrepot.storage.errors import Health

KIB = 1024
BLOB = 100 * KIB
LIMIT = 1024 * KIB
ALLOWANCE = LIMIT // 8
LOST: list[str] = []
"""The drafts that gave way."""


@dataclass(frozen=True, slots=True)
class Room:
    """What files may take beside the blobs of one cache, as the store puts it together."""

    downloads: DownloadClaims
    drafts: DraftClaims
    eviction: Eviction


def room_in(
    blobs: Any, partials: Path, limit: int, *, steady: Callable[[], float] = time.monotonic
) -> Room:
    """Claims in a folder that has what an earlier process left."""
    size_limit = SizeLimit(blobs, partials, limit, steady)
    eviction, health = Eviction(size_limit, blobs, Evicted(Events())), Health()
    claims = DownloadClaims(size_limit, eviction, health), DraftClaims(size_limit, eviction, health)
    return Room(*claims, eviction)


def fill(blobs: Any, count: int) -> list[str]:
    """Commit blobs of 100 KiB; their keys, the one used least recently first."""
    keys = [f"blob {number}" for number in range(count)]
    for age, key in enumerate(reversed(keys)):
        blobs.set(key, bytes(BLOB))
        touch(blobs, key, -age)
    return keys


def touch(blobs: Any, key: str, when: float) -> None:
    """Say when a row was used last; a clock may give two uses the same time."""
    with blobs.transact():
        blobs._sql("UPDATE Cache SET access_time = ? WHERE key = ?", (when, key))  # noqa: SLF001


def partial(room: Room, partials: Path, name: str, size: int) -> Path:
    """An unfinished download that nobody continues, of just now."""
    path = partials / name
    path.write_bytes(bytes(size))
    room.downloads.release(path)
    return path


def draft(room: Room, partials: Path, name: str, end: int) -> bool:
    """Claim room for a draft, and write it."""
    path = partials / f"push-{name}"
    granted = room.drafts.claim(path, end, lambda: LOST.append(name))
    if granted:
        path.write_bytes(bytes(end))
    return granted

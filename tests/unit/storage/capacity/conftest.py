"""A cache of blobs, a folder of unfinished files, and what these may take."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrepot.storage.diskcache_db.database import open_cache
from unit.storage.capacity.world import LIMIT, LOST, Room, room_in
from unit.storage.world import Clock


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[Any]:
    """A cache of blobs as the store opens it."""
    cache, _ = open_cache(tmp_path / "blobs", "least-recently-used")
    yield cache
    cache.close()


@pytest.fixture
def steady() -> Clock:
    """Seconds that pass when a test says so."""
    return Clock()


@pytest.fixture
def partials(tmp_path: Path) -> Path:
    folder = tmp_path / "partial"
    folder.mkdir()
    return folder


@pytest.fixture
def room(blobs: Any, partials: Path, steady: Clock) -> Room:
    return room_in(blobs, partials, LIMIT, steady=steady)


@pytest.fixture(autouse=True)
def lost() -> list[str]:
    """The drafts that gave way."""
    LOST.clear()
    return LOST

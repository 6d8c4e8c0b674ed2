"""A store in a folder of its own, with a clock that a test sets."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.storage.store import Store
from unit.storage.world import LIMIT, Clock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def clock() -> Clock:
    return Clock(time.time())


@pytest.fixture
def store(folder: Path, clock: Clock) -> Iterator[Store]:
    with closing(Store(folder, LIMIT, clock)) as store:
        yield store

"""A store in a folder of its own."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.storage.store import Store
from unit.storage.world import LIMIT


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "data", LIMIT)) as store:
        yield store

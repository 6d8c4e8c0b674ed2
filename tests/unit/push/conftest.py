"""Engines on a data folder of the test's own."""

from pathlib import Path

import pytest

from unit.push.world import Start


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path)

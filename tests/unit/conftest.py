"""What the tests of several rooms need."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.transfer.growing_file import GrowingFile


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[GrowingFile]:
    """A file that a download writes, on a loop that does not run."""
    loop = asyncio.new_event_loop()
    file = GrowingFile(tmp_path / "blob.part", loop)
    yield file
    file.close()
    loop.close()

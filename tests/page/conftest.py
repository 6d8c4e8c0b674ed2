"""One browser, and one proxy with something to see, for all tests of the page."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.demo import DEMO, scale_of
from rig.forks import Forks
from rig.needs import need
from rig.stage_page import GHCR, Stage, stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    need("chromium")
    from rig.browser import chromium  # noqa: PLC0415 playwright, where a browser is

    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def staged(rig_folder: Path, forks: Forks, pytestconfig: pytest.Config) -> Iterator[Stage]:
    """A cache of some weeks, registries in every state, one layer under way."""
    need("setpriv")
    folder = Path(tempfile.mkdtemp(prefix="page-", dir=rig_folder))
    images: int | None = pytestconfig.getoption("--page-images")
    scale, size = DEMO, "10GiB"
    if images is not None:
        scale, size = scale_of(images, pytestconfig.getoption("--page-requests")), "60TiB"
    with stage(folder, scale=scale, launch=forks.launch, size=size) as staged:
        staged.ask_registries()
        staged.fetch(GHCR, "acme/storefront", 4, 0.5, "127.0.0.11", "127.0.0.12")
        yield staged

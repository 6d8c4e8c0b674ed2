"""What docker, containerd, podman and skopeo see of a broken registry.

The short form looks at faults which fail a pull by some or all of them, and no longer do through
the cache. The long form, `--fault-table FILE`, writes the whole table.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import fault_table
from rig.broken import FAULTS, BrokenRegistries
from rig.images import ImageFactory
from rig.needs import need, need_root
from rig.upstreams import Upstreams

MENDED = (
    "none",
    "manifest: cut, once",
    "manifest: 502, once",
    "layer: 503, once",
    "all: chunked",
)
SHORT_SECONDS = 60
LONG_SECONDS = 100
"""docker alone tries for 75 s."""

INTRODUCTION = """\
# Faults of a registry, as the clients see them

Written by `scripts/test tests/attack/test_fault_table.py --fault-table FILE`. Each fault was put
into an image of its own (one layer of 64 KiB), which each client pulled directly (by a blind
tunnel) and through Entrepôt. *ok (+n)*: the registry was asked n times more than without a fault.
*waits*: the client was still at it after {seconds} seconds.

"""


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_root()
    need("dockerd", "docker", "containerd", "ctr", "podman", "skopeo", "unshare")


@pytest.fixture
def broken(folder: Path, upstreams: Upstreams) -> Iterator[BrokenRegistries]:
    broken = BrokenRegistries(folder, upstreams.authority)
    yield broken
    broken.stop()


@pytest.mark.e2e
def test_what_fails_a_pull_does_not_through_the_cache(
    folder: Path, broken: BrokenRegistries, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Each client's pull is well at the first attempt, though its registry fails once."""
    faults = [fault for fault in FAULTS if fault.name in MENDED]
    with fault_table.lanes(
        folder, broken, upstreams.authority, (fault_table.CACHED,), len(faults)
    ) as lanes:
        seen = fault_table.pull_all(lanes, faults, broken, images, SHORT_SECONDS)
    assert {cell: one.text for cell, one in seen.items() if not one.ok} == {}


@pytest.mark.e2e
@pytest.mark.slow
def test_write_the_fault_table(
    request: pytest.FixtureRequest,
    folder: Path,
    broken: BrokenRegistries,
    upstreams: Upstreams,
    images: ImageFactory,
) -> None:
    """Every fault, every client, both ways: without a fault all of them are well."""
    file = request.config.getoption("--fault-table", None)
    if file is None:
        pytest.skip("long: tests/attack/test_fault_table.py --fault-table FILE")
    with fault_table.lanes(folder, broken, upstreams.authority, at_once=6) as lanes:
        seen = fault_table.pull_all(lanes, FAULTS, broken, images, LONG_SECONDS)
        Path(file).write_text(
            INTRODUCTION.format(seconds=LONG_SECONDS) + fault_table.markdown(lanes, seen)
        )
        assert all(seen["none", lane.name].ok for lane in lanes)

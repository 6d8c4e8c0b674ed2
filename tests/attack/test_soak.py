"""Under load for as long as one likes, nothing grows and nothing is wrong.

``--soak-minutes 10`` is the long form; from five minutes on, it draws soak.svg beside this file.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from attack.curves import LIMIT, Sample, draw, grown, sample, watch
from attack.load import Load
from attack.world import REGISTRIES, World
from rig.faults import FaultServer
from rig.images import ImageFactory
from rig.process import eventually
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

pytestmark = [pytest.mark.slow, pytest.mark.unforked]

CLIENTS = 32
_REMEMBERED = 400
_DRAWN_FROM_MINUTES = 5
_PATIENCE = 180
_IDLE_FILES, _IDLE_THREADS = 90, 16
"""What may stay open: pooled connections, 32 to a registry at most, and the executors' threads."""

_HARMLESS = ("digest_mismatched", "fetch_broken", "transfer_cut", "store_full")
"""Warnings that such a load brings about."""


def test_a_long_load_leaves_nothing_behind(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    faults: FaultServer,
    images: ImageFactory,
    attack_seed: str,
    request: pytest.FixtureRequest,
) -> None:
    """Promise 6: memory, descriptors, threads and the folder stay flat; every body is right."""
    minutes: float = request.config.getoption("--soak-minutes")
    entrepot = start_entrepot(size=str(LIMIT), registry=REGISTRIES)
    world = World(upstreams, faults, images, attack_seed)
    idle = sample(entrepot)
    samples: list[Sample] = []
    client = entrepot.client(timeout=_PATIENCE)
    with Load(world, client, seed=attack_seed, clients=CLIENTS) as load:
        for taken in watch(entrepot, minutes * 60):
            samples.append(taken)
            world.keep_newest(_REMEMBERED)
            assert load.problems == [], f"--attack-seed {attack_seed}"
    assert load.problems == [], f"--attack-seed {attack_seed}"
    caption = _caption(load, minutes)
    print(caption)  # noqa: T201 - shown by pytest -s
    if minutes >= _DRAWN_FROM_MINUTES:
        Path(__file__).with_name("soak.svg").write_text(draw(samples, caption))
    assert _complaints(entrepot.log) == []
    assert grown(samples) == []

    def rests() -> bool:
        now = sample(entrepot)
        return (
            now["partials"] == 0
            and now["files"] <= idle["files"] + _IDLE_FILES
            and now["threads"] <= idle["threads"] + _IDLE_THREADS
        )

    eventually(rests, what="nothing is under way any more")
    entrepot.terminate()
    assert _complaints(entrepot.log) == []


def _complaints(log: str) -> list[str]:
    """Lines that no load should bring about."""
    lines = (line for line in log.splitlines() if " INFO " not in line)
    return [line for line in lines if not any(f" WARNING {w} " in line for w in _HARMLESS)]


def _caption(load: Load, minutes: float) -> str:
    done = sum(load.counts.values())
    return f"{CLIENTS} clients for {minutes:g} minutes: {done} visits, every body verified"

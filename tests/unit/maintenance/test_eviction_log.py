"""Evictions are one line a batch, with a hint where what was used lately goes."""

import logging
from collections.abc import Sequence

import pytest

from entrepot.events.log import Events
from entrepot.maintenance.eviction_log import EvictionLog
from entrepot.storage.capacity.evicted import Evicted
from rig.process import eventually

HINT = "what was used within the last {} is evicted: a larger --size, or disk"


def lines(caplog: pytest.LogCaptureFixture) -> Sequence[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("age", "hint"),
    [(90.0, HINT.format("hour")), (7200.0, HINT.format("day")), (90000.0, None)],
)
def test_a_batch_is_one_line(
    caplog: pytest.LogCaptureFixture, age: float, hint: str | None
) -> None:
    """Logged by the end at the latest."""
    events = Events()
    evicted = Evicted(events)
    log = EvictionLog(evicted, events)
    with caplog.at_level(logging.INFO, "entrepot"):
        log.start()
        for extra in range(300):
            evicted.add(is_blob=extra > 0, size=2, age=age + extra)
        log.stop()
    said = f' hint="{hint}"' if hint else ""
    assert lines(caplog) == [
        (
            f"objects_evicted blobs=299 manifests=1 size=600 oldest={age + 299:.0f}s "
            f"youngest={age:.0f}s{said}"
        )
    ]


def test_a_line_comes_while_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    """Not at the end only; and after it there is none for a minute."""
    events = Events()
    evicted = Evicted(events)
    log = EvictionLog(evicted, events, gather=0.01)
    with caplog.at_level(logging.INFO, "entrepot"):
        log.start()
        evicted.add(is_blob=True, size=1, age=1)
        eventually(lambda: len(caplog.records), what="a line")
        evicted.add(is_blob=True, size=1, age=1)
        evicted.add(is_blob=True, size=1, age=1)
        log.stop()
    assert [line.split()[1] for line in lines(caplog)] == ["blobs=1", "blobs=2"]

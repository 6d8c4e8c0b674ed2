"""What gives way for want of room is seen: counted, and one line for many objects."""

import re
from typing import TYPE_CHECKING

from rig.faults import FaultServer
from rig.images import MIB, incompressible

if TYPE_CHECKING:
    from conftest import StartEntrepot

HOST = "https://fault.example.test"
COUNT, SIZE, LIMIT = 20, 2 * MIB, 30 * MIB
LINE = re.compile(
    r" INFO objects_evicted blobs=(\d+) manifests=0 size=(\d+) oldest=\d+s youngest=\d+s"
    r' hint="what was used within the last hour is evicted: a larger --size, or disk"'
)


def test_what_vanishes_is_counted_and_logged(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """20 layers of 2 MiB into 30 MiB: the rest gave way, and one can see it."""
    entrepot = start_entrepot(size=str(LIMIT))
    client = entrepot.client()
    for number in range(COUNT):
        path, _ = faults.add_blob("app", b"".join(incompressible(f"evicted {number}", SIZE)))
        assert client.get(HOST + path).status == 200
        client.await_stored(number + 1)
    gone = entrepot.counter("evicted_blobs")
    assert COUNT - LIMIT // SIZE <= gone < COUNT
    assert entrepot.counter("evicted_bytes") == gone * SIZE
    assert entrepot.terminate() == 0
    found = LINE.findall(entrepot.log)
    assert 1 <= len(found) <= 3
    assert sum(int(blobs) for blobs, _ in found) == gone
    assert sum(int(size) for _, size in found) == gone * SIZE

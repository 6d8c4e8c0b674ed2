"""Floods of ranges: one client's thousands hold up nobody, and cost bounded work.

The blob has 16 GiB and takes no disk; nobody reads it to its end, and the proxy fetches what is
asked for (`--fill asked`).
"""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Client
from rig.faults import FaultServer, Gate
from rig.images import KIB, MIB, incompressible
from rig.multipart import parts_of
from rig.process import eventually
from rig.proxy import Entrepot
from rig.sparse_blob import SparseBlob, content_of

if TYPE_CHECKING:
    from conftest import StartEntrepot

HOST = "fault.example.test"
FAULT = f"https://{HOST}"
GIB = 1024 * MIB
SIZE = 16 * GIB
CONNECTIONS = 200
MOST_UPSTREAM = 24
"""Connections for one blob: sixteen for what is wanted, and a few that go on."""
MOST_THREADS = 200
MOST_MEMORY = 250 * MIB


def threads(entrepot: Entrepot) -> int:
    return len(list(Path(f"/proc/{entrepot.pid}/task").iterdir()))


def disk(entrepot: Entrepot) -> int:
    """What the unfinished downloads take."""
    files = (entrepot.data / "partial").iterdir()
    return sum(path.stat().st_blocks * 512 for path in files)


@pytest.fixture
def entrepot(start_entrepot: "StartEntrepot") -> Entrepot:
    return start_entrepot(fill="asked", size="20GB")


@pytest.fixture
def sparse(faults: FaultServer) -> Iterator[SparseBlob]:
    blob = SparseBlob(SIZE)
    faults.routes[blob.path] = blob
    yield blob
    if blob.gate:
        blob.gate.open()


def get(client: Client, blob: SparseBlob, start: int, stop: int) -> None:
    """Ask for a range, and have it."""
    answer = client.get(FAULT + blob.path, {"Range": f"bytes={start}-{stop - 1}"})
    assert answer.status == 206, answer
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.body == content_of(start, stop)


def another_pull(client: Client, faults: FaultServer, name: str) -> None:
    """Somebody else's pull, of the same registry."""
    body = b"".join(incompressible(name, 3 * MIB))
    path, _ = faults.add_blob("other", body)
    assert client.get(FAULT + path).body == body


@contextmanager
def waiting(client: Client, blob: SparseBlob, ranges: list[str]) -> Iterator[None]:
    """Clients that wait, each for a range of its own."""
    with ExitStack() as stack:
        for wanted in ranges:
            tls = stack.enter_context(client.tunnel(HOST))
            head = f"GET {blob.path} HTTP/1.1\r\nHost: {HOST}\r\nRange: bytes={wanted}\r\n\r\n"
            tls.sendall(head.encode())
        yield


@pytest.mark.unforked
def test_a_range_on_each_of_many_connections(
    entrepot: Entrepot, faults: FaultServer, sparse: SparseBlob
) -> None:
    """Promise 6: all wait, a few are fetched at a time, others' pulls go on; then they come."""
    client = entrepot.client()
    get(client, sparse, 0, 10)
    sparse.gate = gate = Gate()
    step = SIZE // CONNECTIONS
    wanted = [f"{number * step + 5}-{number * step + 5 + KIB}" for number in range(CONNECTIONS)]
    with waiting(client, sparse, wanted):
        eventually(lambda: sparse.most_at_once >= 4, what="ranges asked for")
        another_pull(client, faults, "beside many connections")
        assert sparse.most_at_once <= MOST_UPSTREAM
        assert threads(entrepot) <= MOST_THREADS
        assert entrepot.rss_peak() < MOST_MEMORY
        gate.open()
        get(client, sparse, SIZE - 100, SIZE)
    another_pull(client, faults, "after many connections")
    assert sparse.most_at_once <= MOST_UPSTREAM


def test_thousands_of_ranges_of_one_client(
    entrepot: Entrepot, faults: FaultServer, sparse: SparseBlob
) -> None:
    """Promise 6: of single bytes, one over another, at the very end; each byte comes about once."""
    client = entrepot.client()
    done = threading.Event()

    def flood(seed: int) -> None:
        own, connection = random.Random(seed), client.connection(FAULT)  # noqa: S311
        try:
            for _ in range(250):
                start = SIZE - 1 - own.randrange(4 * MIB)
                stop = min(SIZE, start + own.choice((1, 1, 2, 100, 5000)))
                headers = {"Range": f"bytes={start}-{stop - 1}"}
                connection.request("GET", sparse.path, headers=headers)
                answer = connection.getresponse()
                assert answer.status == 206
                assert answer.read() == content_of(start, stop)
        finally:
            connection.close()

    def others() -> None:
        number = 0
        while not done.is_set():
            another_pull(client, faults, f"beside thousands {number}")
            number += 1

    with ThreadPoolExecutor(9) as pool:
        beside = pool.submit(others)
        floods = [pool.submit(flood, seed) for seed in range(8)]
        try:
            for one in floods:
                one.result()
        finally:
            done.set()
        beside.result()
    assert sparse.sent <= 6 * MIB, "about what was asked for"
    assert disk(entrepot) <= 40 * MIB
    assert threads(entrepot) <= MOST_THREADS


def test_a_thousand_ranges_in_one_request(
    entrepot: Entrepot, faults: FaultServer, sparse: SparseBlob
) -> None:
    """Promise 6: all over 16 GiB; and more than that are no thousand fetches."""
    client = entrepot.client()
    step = SIZE // 1000
    spots = [number * step for number in range(1000)]
    wanted = ",".join(f"{start}-{start + 9}" for start in spots)
    answer = client.get(FAULT + sparse.path, {"Range": f"bytes={wanted}"})
    assert answer.status == 206, answer
    parts = parts_of(answer.headers["Content-Type"], answer.body)
    assert parts == [(start, content_of(start, start + 10)) for start in spots]
    assert sparse.sent <= 1000 * 128 * KIB
    assert sparse.most_at_once <= MOST_UPSTREAM
    assert disk(entrepot) <= 200 * MIB
    another_pull(client, faults, "after a thousand")


def test_clients_that_leave_leave_nothing_to_do(
    entrepot: Entrepot, faults: FaultServer, sparse: SparseBlob
) -> None:
    """Promise 6: what nobody waits for any more is not fetched, with `--fill asked`."""
    client = entrepot.client()
    get(client, sparse, 0, 10)
    sparse.gate = gate = Gate()
    with waiting(client, sparse, [f"{n * GIB}-{n * GIB + 64 * MIB - 1}" for n in range(1, 30)]):
        eventually(lambda: sparse.most_at_once >= 4, what="ranges asked for")
    before = sparse.sent
    gate.open()
    another_pull(client, faults, "after they left")
    get(client, sparse, SIZE - 100, SIZE)
    assert sparse.sent - before <= 29 * 64 * MIB // 4

"""A large blob from a slow upstream comes by several connections, and stays one download."""

import http.client
import time
from collections.abc import Iterator

import pytest

from rig.client import Client
from rig.faults import Content, Exchange, FaultServer, Gate
from rig.images import MIB, incompressible
from rig.process import eventually
from rig.proxy import Entrepot

FAULT = "https://fault.example.test"
BODY = b"".join(incompressible("parallel", 40 * MIB))
SLOW_SECONDS = 0.5
"""How long the first connection lets the proxy wait: twice what makes it call upstream slow."""
DROP = 64 * 1024


class Slow:
    """A blob whose first connection is slow: a MiB, another in drops, then what `gate` allows.

    There is a wait before each drop until parts are asked for, which are answered at once, by
    `parts`. On a busy machine the proxy may not notice the first.
    """

    def __init__(self, faults: FaultServer) -> None:
        self.path, self.parts = faults.add_blob("app", BODY)
        self.gate = Gate()
        self._faults = faults
        faults.routes[self.path] = self._answer

    def _answer(self, exchange: Exchange) -> None:
        if exchange.request.range or exchange.request.method == "HEAD":
            self.parts(exchange)
            return
        exchange.start(200, {"Content-Length": str(len(BODY))})
        exchange.write(BODY[:MIB])
        for at in range(MIB, 2 * MIB, DROP):
            until = time.monotonic() + SLOW_SECONDS
            while not self.ranges() and time.monotonic() < until:
                time.sleep(0.01)
            exchange.write(BODY[at : at + DROP])
        at = 2 * MIB
        while at < len(BODY):
            count = self.gate.take(min(MIB, len(BODY) - at))
            exchange.write(BODY[at : at + count])
            at += count

    def ranges(self) -> list[str]:
        return [one.range for one in self._faults.of(path=self.path, method="GET") if one.range]

    def await_parts(self, count: int = 3) -> None:
        eventually(lambda: len(self.ranges()) >= count, what="parts asked for")


@pytest.fixture
def slow(faults: FaultServer) -> Iterator[Slow]:
    blob = Slow(faults)
    yield blob
    blob.gate.open()


def test_the_rest_is_fetched_by_several_connections(
    entrepot: Entrepot, client: Client, slow: Slow
) -> None:
    """The client gets one whole body, and it is stored once."""
    with client.open("GET", FAULT + slow.path) as stream:
        assert stream.read(MIB) == BODY[:MIB]
        slow.await_parts()
        slow.gate.open()
        assert stream.read() == BODY[MIB:]
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="it is stored")
    assert client.get(FAULT + slow.path).body == BODY
    assert b'"blob_misses": 1' in entrepot.local("/healthz").body


def test_others_follow_the_same_download(client: Client, slow: Slow) -> None:
    """Whoever asks meanwhile gets the bytes that are here, and no request of its own."""
    with client.open("GET", FAULT + slow.path) as one:
        one.read(MIB)
        slow.await_parts()
        with client.open("GET", FAULT + slow.path) as other:
            assert other.read(2 * MIB - 1) == BODY[: 2 * MIB - 1]
            slow.gate.open()
            assert other.read() == BODY[2 * MIB - 1 :]
        assert one.read() == BODY[MIB:]
    whole = [r for r in slow._faults.of(path=slow.path, method="GET") if not r.range]  # noqa: SLF001
    assert len(whole) == 1


def test_an_upstream_without_ranges_is_read_by_one_connection(client: Client, slow: Slow) -> None:
    """A 200 to a Range costs a question; the client notices nothing."""
    slow.parts.ranges = False
    with client.open("GET", FAULT + slow.path) as stream:
        stream.read(MIB)
        slow.await_parts()
        slow.gate.open()
        assert stream.read() == BODY[MIB:]


def test_wrong_bytes_in_a_part_are_never_whole(client: Client, slow: Slow) -> None:
    """One hash covers all parts: the transfer is cut, nothing is stored."""
    slow.parts.body = bytes(len(BODY))
    with client.open("GET", FAULT + slow.path) as stream:
        stream.read(MIB)
        slow.await_parts()
        slow.gate.open()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            stream.read()
    slow._faults.routes[slow.path] = Content(BODY)  # noqa: SLF001
    answer = client.get(FAULT + slow.path)
    assert (answer.body, "hit" in answer.cache_status) == (BODY, False)


def test_kill_9_loses_nothing_of_what_came_ahead(
    entrepot: Entrepot, client: Client, slow: Slow
) -> None:
    """What is kept is known again, gaps and all, and nothing of it is fetched twice."""
    stream = client.open("GET", FAULT + slow.path)
    stream.read(MIB)
    (partial,) = (entrepot.data / "partial").glob("*.part")
    eventually(lambda: partial.stat().st_blocks * 512 > 30 * MIB, what="parts come")
    entrepot.kill9()
    stream.close()
    before = sum(one.sent for one in slow._faults.of(path=slow.path))  # noqa: SLF001
    assert partial.read_bytes()[:MIB] == BODY[:MIB]
    slow.gate.open()
    entrepot.start()
    assert entrepot.client().get(FAULT + slow.path).body == BODY
    after = sum(one.sent for one in slow._faults.of(path=slow.path))  # noqa: SLF001
    assert after - before < len(BODY) - 20 * MIB

"""An interrupted fetch goes on where it was (promise 3), and a stop is an orderly one."""

import hashlib
import http.client
import signal
from pathlib import Path

import pytest

from rig.client import Client, Stream
from rig.faults import Content, FaultServer, Gate, first, status
from rig.images import MIB, incompressible
from rig.process import eventually
from rig.proxy import Entrepot

FAULT = "https://fault.example.test"
BODY = b"".join(incompressible("resume", 3 * MIB))
CUT = (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError)


def starts(faults: FaultServer, path: str) -> list[int]:
    """Where each GET of a blob began, by its Range."""
    ranges = [one.range for one in faults.of(path=path, method="GET")]
    return [int(r.removeprefix("bytes=").rstrip("-")) if r else 0 for r in ranges]


def kept(entrepot: Entrepot) -> list[Path]:
    """The unfinished downloads."""
    return list((entrepot.data / "partial").iterdir())


def held(faults: FaultServer, entrepot: Entrepot, client: Client) -> tuple[str, Gate, Stream]:
    """Begin a transfer that stops before its end; some of it is in the partial file."""
    path, content = faults.add_blob("app", BODY)
    content.gate = Gate(2 * MIB)
    stream = client.open("GET", FAULT + path)
    assert stream.read(MIB // 2) == BODY[: MIB // 2]
    assert kept(entrepot)
    return path, content.gate, stream


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("cuts", [1, 3])
def test_a_cut_upstream_is_resumed(
    client: Client, faults: FaultServer, cuts: int, *, reset: bool
) -> None:
    """Promise 3: what is here is not fetched again; the client sees one whole body."""
    path, content = faults.add_blob("app", BODY)
    content.cut_after, content.cuts, content.reset = 700_000, cuts, reset
    assert client.get(FAULT + path).body == BODY
    asked = starts(faults, path)
    assert len(asked) == cuts + 1
    assert asked == sorted(set(asked)), "each begins behind the one before"
    assert [one.status for one in faults.of(path=path, method="GET")] == [200] + cuts * [206]
    client.await_stored()
    assert "hit" in client.head(FAULT + path).cache_status


def test_an_upstream_without_ranges_starts_over(client: Client, faults: FaultServer) -> None:
    """Promise 3: a 200 instead of a 206 is read from the start, the client notices nothing."""
    path, content = faults.add_blob("app", BODY)
    content.cut_after, content.cuts, content.ranges = 700_000, 1, False
    assert client.get(FAULT + path).body == BODY
    assert [one.status for one in faults.of(path=path, method="GET")] == [200, 200]
    client.await_stored()
    assert "hit" in client.head(FAULT + path).cache_status


@pytest.mark.parametrize("ranges", [True, False], ids=["206", "200"])
def test_other_bytes_on_the_second_try_are_cut(
    client: Client, faults: FaultServer, *, ranges: bool
) -> None:
    """Promise 1: a resumed fetch that brings other bytes ends no transfer and is not stored."""
    path, content = faults.add_blob("app", BODY)
    content.cut_after, content.cuts = 700_000, 1
    other = Content(bytes(len(BODY)), ranges=ranges)
    faults.routes[path] = first(1, content, other)
    with client.open("GET", FAULT + path) as stream, pytest.raises(CUT):
        stream.read()
    faults.routes[path] = Content(BODY)
    answer = client.get(FAULT + path)
    assert (answer.body, "hit" in answer.cache_status) == (BODY, False)


def test_a_transient_error_in_between_is_waited_out(client: Client, faults: FaultServer) -> None:
    """Promise 3: a 503 to the resuming request does not end the fetch."""
    path, content = faults.add_blob("app", BODY)
    content.cut_after, content.cuts = 700_000, 1
    faults.routes[path] = first(1, content, first(1, status(503), content))
    assert client.get(FAULT + path).body == BODY
    assert [one.status for one in faults.of(path=path)] == [200, 503, 206]


def test_a_partial_is_continued_after_kill_9(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 3: the next process asks for the rest only, and serves and stores the whole."""
    path, gate, stream = held(faults, entrepot, client)
    entrepot.kill9()
    stream.close()
    gate.open()
    (partial,) = kept(entrepot)
    size = partial.stat().st_size
    assert BODY.startswith(partial.read_bytes())
    entrepot.start()
    answer = entrepot.client().get(FAULT + path)
    assert f"sha256:{hashlib.sha256(answer.body).hexdigest()}" == path.rpartition("/")[2]
    assert starts(faults, path) == [0, size - 1]
    eventually(lambda: not kept(entrepot), what="the partial is committed")
    assert "hit" in entrepot.client().head(FAULT + path).cache_status


def test_a_spoilt_partial_is_not_served(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 1: a partial whose bytes changed on disk ends no transfer and is thrown away."""
    path, gate, stream = held(faults, entrepot, client)
    entrepot.kill9()
    stream.close()
    gate.open()
    (partial,) = kept(entrepot)
    partial.write_bytes(bytes(1000) + partial.read_bytes()[1000:])
    entrepot.start()
    again = entrepot.client()
    with again.open("GET", FAULT + path) as spoilt, pytest.raises(CUT):
        spoilt.read()
    assert again.get(FAULT + path).body == BODY


def test_a_partial_longer_than_the_blob_is_thrown_away(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 1: upstream's 416 to what a partial asks for starts the fetch over."""
    path, gate, stream = held(faults, entrepot, client)
    entrepot.kill9()
    stream.close()
    gate.open()
    (partial,) = kept(entrepot)
    partial.write_bytes(BODY + bytes(5))
    entrepot.start()
    assert entrepot.client().get(FAULT + path).body == BODY


def test_sigterm_lets_a_transfer_finish(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """A stop drains: what runs ends whole, and the exit status is 0."""
    _, gate, stream = held(faults, entrepot, client)
    entrepot.daemon.signal(signal.SIGTERM)
    gate.open()
    assert stream.read() == BODY[MIB // 2 :]
    stream.close()
    assert entrepot.daemon.wait(20) == 0


def test_what_ends_while_draining_is_committed(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 3: a fetch that came whole during a stop is a hit of the next process."""
    path, gate, stream = held(faults, entrepot, client)
    entrepot.daemon.signal(signal.SIGTERM)
    gate.open()
    stream.read()
    stream.close()
    assert entrepot.daemon.wait(20) == 0
    assert "store_failed" not in entrepot.log
    assert kept(entrepot) == []
    entrepot.start()
    assert "hit" in entrepot.client().get(FAULT + path).cache_status


def test_sigterm_keeps_an_unfinished_fetch(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 3: a fetch nobody waits for is stopped, kept, and continued by the next process."""
    path, gate, stream = held(faults, entrepot, client)
    stream.abort()
    assert entrepot.terminate() == 0
    gate.open()
    (partial,) = kept(entrepot)
    size = partial.stat().st_size
    entrepot.start()
    assert entrepot.client().get(FAULT + path).body == BODY
    assert starts(faults, path) == [0, size - 1]

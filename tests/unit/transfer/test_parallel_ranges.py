"""Fetching the rest of a blob by several connections, from a real server."""

import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from entrepot.http_client.client import HttpClient
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.protocol.identifiers import Origin
from entrepot.transfer import parallel_ranges as rules
from entrepot.transfer.parallel_ranges import CONNECTIONS, ConnectionBudget, ParallelRanges
from rig.faults import Content, Exchange, FaultServer, Gate, first
from rig.process import eventually

MIB = 1024 * 1024
DATA = os.urandom(40 * MIB)
READ_BEFORE = MIB
"""What had been read when further connections were started."""

PIECE = (len(DATA) - READ_BEFORE) // (2 * CONNECTIONS)
PATH = "/blob"


class Blob:
    """The server's blob: its whole answer from `whole`, parts of it from `part`."""

    def __init__(self, server: FaultServer, upstream: HttpClient, folder: Path) -> None:
        self.whole = Content(DATA)
        self.part: Callable[[Exchange], None] = Content(DATA)
        self._target = Target(Origin("http", "127.0.0.1", server.port), PATH)
        self._upstream = upstream
        self._folder = folder
        server.routes[PATH] = self._answer

    def _answer(self, exchange: Exchange) -> None:
        (self.part if exchange.request.range else self.whole)(exchange)

    def ask(self, start: int, stop: int) -> Reply:
        fields = (("Range", f"bytes={start}-{stop - 1}"),)
        return self._upstream.send("GET", self._target, fields, SendOptions(Follow.NO))

    def begin(self) -> tuple[ParallelRanges, bytes]:
        """Read a first MiB on one connection; go on by several."""
        reply = self._upstream.send("GET", self._target, (), SendOptions(Follow.NO))
        head = b""
        while len(head) < READ_BEFORE:
            head += reply.read(READ_BEFORE - len(head))
        pieces = ParallelRanges(reply, len(head), len(DATA), ask=self.ask, folder=self._folder)
        assert pieces.start()
        return pieces, head


@pytest.fixture
def blob(server: FaultServer, upstream: HttpClient, tmp_path: Path) -> Blob:
    return Blob(server, upstream, tmp_path)


def rest(pieces: ParallelRanges) -> bytes:
    found = bytearray()
    while data := pieces.read(MIB):
        found += data
    return bytes(found)


def asked(server: FaultServer) -> list[tuple[int, int]]:
    """The parts that were asked for, both ends included."""
    ranges = [request.range.removeprefix("bytes=") for request in server.requests if request.range]
    return [(int(start), int(last)) for start, last in (text.split("-") for text in ranges)]


def test_the_bytes_come_whole_and_in_order(blob: Blob) -> None:
    pieces, head = blob.begin()
    assert head + rest(pieces) == DATA
    pieces.close()


def test_no_byte_is_asked_for_twice(blob: Blob, server: FaultServer) -> None:
    pieces, _ = blob.begin()
    rest(pieces)
    pieces.close()
    parts = sorted(asked(server))
    assert parts[0][0] == READ_BEFORE + PIECE
    assert parts[-1][1] == len(DATA) - 1
    assert all(one[1] + 1 == other[0] for one, other in itertools.pairwise(parts))


def test_four_connections_at_once_and_no_more(blob: Blob, server: FaultServer) -> None:
    gate = Gate()
    blob.part = Content(DATA, gate=gate)
    pieces, _ = blob.begin()
    server.await_request(count=CONNECTIONS, method="GET", path=PATH)
    while pieces._first is not None:  # noqa: SLF001 a fourth takes the place of the first
        pieces.read(MIB)
    server.await_request(count=CONNECTIONS + 1, method="GET", path=PATH)
    assert len(server.requests) == CONNECTIONS + 1
    gate.open()
    rest(pieces)
    pieces.close()


def test_who_reads_does_not_wait_for_what_comes_later(blob: Blob) -> None:
    gate = Gate()
    blob.part = Content(DATA, gate=gate)
    pieces, head = blob.begin()
    while len(head) < READ_BEFORE + PIECE:
        head += pieces.read(MIB)
    assert head == DATA[: READ_BEFORE + PIECE]
    gate.open()
    assert head + rest(pieces) == DATA
    pieces.close()


def test_pieces_are_fetched_while_the_first_connection_stalls(
    blob: Blob, server: FaultServer
) -> None:
    gate = Gate(READ_BEFORE)
    blob.whole = Content(DATA, gate=gate)
    pieces, head = blob.begin()

    def ahead() -> int:
        return sum(request.sent for request in server.requests if request.range)

    # Three connections take four pieces: as many as are kept waiting for the reader.
    eventually(lambda: ahead() >= CONNECTIONS * rules._SMALLEST_PIECE, within=30, what="pieces")  # noqa: SLF001
    gate.open()
    assert head + rest(pieces) == DATA
    pieces.close()


def test_only_some_pieces_are_fetched_ahead(blob: Blob, server: FaultServer) -> None:
    gate = Gate(READ_BEFORE)
    blob.whole = Content(DATA, gate=gate)
    pieces, head = blob.begin()
    server.await_request(count=CONNECTIONS + 1, method="GET", path=PATH)
    eventually(lambda: len(pieces._pieces) == CONNECTIONS, within=30, what="pieces")  # noqa: SLF001
    assert len(asked(server)) == CONNECTIONS
    gate.open()
    assert head + rest(pieces) == DATA
    pieces.close()


def test_a_piece_that_breaks_off_goes_on_where_it_broke(blob: Blob, server: FaultServer) -> None:
    broken = Content(DATA, cut_after=100_000, cuts=1)
    blob.part = first(1, broken, Content(DATA))
    pieces, head = blob.begin()
    assert head + rest(pieces) == DATA
    pieces.close()
    starts = [start for start, _ in asked(server)]
    assert any(0 < other - one <= 100_000 for one in starts for other in starts)


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(Content(DATA, ranges=False), id="it answers 200 to a Range"),
        pytest.param(Content(DATA + b"more"), id="the blob has another size"),
        pytest.param(lambda exchange: exchange.send(503), id="it answers 503"),
        pytest.param(
            lambda exchange: exchange.send(206, b"x", {"Content-Range": f"bytes 0-0/{len(DATA)}"}),
            id="it answers another part",
        ),
        pytest.param(
            lambda exchange: exchange.send(206, b"x", {"Content-Range": "bytes nonsense"}),
            id="it answers nonsense",
        ),
    ],
)
def test_an_upstream_without_parts_gives_what_one_connection_has(
    blob: Blob, part: Callable[[Exchange], None]
) -> None:
    """All that came in order is given before the failure is."""
    blob.part = part
    pieces, found = blob.begin()
    while len(found) < READ_BEFORE + PIECE:
        found += pieces.read(MIB)
    assert found == DATA[: READ_BEFORE + PIECE]
    with pytest.raises(UpstreamError):
        pieces.read(MIB)
    pieces.close()


def test_a_failure_names_the_host_and_no_more(blob: Blob) -> None:
    blob.part = Content(DATA, ranges=False)
    pieces, _ = blob.begin()
    with pytest.raises(UpstreamError, match=r"^http://127.0.0.1:\d+: it does not give parts"):
        rest(pieces)
    pieces.close()


def test_connections_are_given_back(blob: Blob) -> None:
    """After a close in the middle and after an end, as many can be had as before."""
    for _ in range(8):
        pieces, _ = blob.begin()
        pieces.read(MIB)
        pieces.close()
    eventually(lambda: rules.budget.left == rules.budget.most, within=30, what="connections")


def test_without_a_connection_to_spare_nothing_changes(
    blob: Blob, upstream: HttpClient, tmp_path: Path
) -> None:
    host = Origin("https", "busy.example.test", 443)
    others = [Origin("https", f"{number}.example.test", 443) for number in range(16)]
    taken = [other for other in others if rules.budget.take(other)]
    try:
        assert not rules.budget.take(host)
        with upstream.send("GET", blob._target, (), SendOptions(Follow.NO)) as reply:  # noqa: SLF001
            pieces = ParallelRanges(reply, 0, len(DATA), ask=blob.ask, folder=tmp_path)
            assert not pieces.start()
            assert reply.read(1) == DATA[:1]
    finally:
        for other in taken:
            rules.budget.give(other)


def test_one_host_leaves_connections_to_the_others() -> None:
    """Promise 8: however many downloads of one drip, others have some to spare."""
    host, other = (Origin("https", f"{name}.example.test", 443) for name in ("drips", "moves"))
    budget = ConnectionBudget(16, 12)
    assert sum(budget.take(host) for _ in range(100)) == 12
    assert sum(budget.take(other) for _ in range(100)) == 4
    budget.give(host)
    assert budget.take(host)
    assert not budget.take(host)


def test_what_is_broken_off_ends_at_once(blob: Blob) -> None:
    """A reader that waits for a piece that does not come hears of it, and no thread is left."""
    gate = Gate()
    blob.part = Content(DATA, gate=gate)
    pieces, found = blob.begin()
    while len(found) < READ_BEFORE + PIECE:
        found += pieces.read(MIB)
    breaking = threading.Thread(target=pieces.abort)
    breaking.start()
    with pytest.raises(UpstreamError, match="broken off"):
        pieces.read(MIB)
    breaking.join()
    pieces.close()
    eventually(lambda: rules.budget.left == rules.budget.most, within=30, what="connections")
    gate.open()


def test_nothing_is_left_on_the_disk(blob: Blob, tmp_path: Path) -> None:
    gate = Gate()
    blob.part = Content(DATA, gate=gate)
    pieces, _ = blob.begin()
    assert list(tmp_path.iterdir()) == []
    gate.open()
    rest(pieces)
    pieces.close()
    assert list(tmp_path.iterdir()) == []

"""Bodies that a client reads at its own pace."""

import asyncio
import os
from pathlib import Path

import pytest

from entrepot.http_client.client import HttpClient
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import CHUNK, Body, BodyError, Stretch
from entrepot.transfer.bodies import ContinuedBody, FileBody, ReplyBody
from entrepot.transfer.digest_verification import VerifiedBody
from entrepot.transfer.errors import StorageLostError
from rig.bodies import drain, drain_broken, in_thread, send
from rig.faults import Content, FaultServer
from rig.process import eventually

DATA = bytes(range(256)) * 8000  # 2,048,000 bytes: more than one chunk


@pytest.fixture
def file(tmp_path: Path) -> int:
    """An open file of DATA, to be closed by the body that gets it."""
    (tmp_path / "file").write_bytes(DATA)
    return os.open(tmp_path / "file", os.O_RDONLY)


def is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


class LostBody:
    """Gives some pieces, then the disk is lost."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.size: int | None = None
        self.closed = 0

    async def read(self, most: int = CHUNK) -> bytes:  # noqa: ARG002 as the protocol has it
        if not self._pieces:
            raise StorageLostError("the disk is full")
        return self._pieces.pop(0)

    def stretch(self, most: int) -> Stretch | None:  # noqa: ARG002 as the protocol has it
        return None

    def skip(self, count: int) -> None:
        raise AssertionError(count)

    def close(self) -> None:
        self.closed += 1


class NeverWhole:
    """A file that grows."""

    async def readable_end(self, offset: int, stop: int | None, *, early: bool) -> int:  # noqa: ARG002 a Growth's
        raise AssertionError((offset, stop))

    def add_follower(self, follower: int, *, early: bool) -> None:
        """Nobody counts."""

    def remove_follower(self, follower: int) -> None:
        """Nobody counts."""


# Files


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, len(DATA)),
        (0, 1),
        (5, 5),
        (100, CHUNK + 100),
        (CHUNK, 2 * CHUNK - 100_000),
        (7, 2_000_000),
    ],
)
def test_a_stretch_of_a_file_is_given(file: int, start: int, stop: int) -> None:
    """Exactly these bytes, in pieces of at most 1 MiB."""
    body = FileBody(file, start, stop)
    assert body.size == stop - start
    pieces = asyncio.run(drain(body))
    assert b"".join(pieces) == DATA[start:stop]
    assert all(len(piece) <= CHUNK for piece in pieces)


def test_a_file_is_closed_once(file: int) -> None:
    """Closing twice is harmless, and reading afterwards an error."""
    body = FileBody(file, 0, 10)
    body.close()
    assert not is_open(file)
    body.close()
    assert asyncio.run(drain_broken(body)) == b""


def test_a_forgotten_body_leaves_no_file_open(file: int) -> None:
    """An answer that nobody sends costs no descriptor."""
    body = FileBody(file, 0, 10)
    del body
    assert not is_open(file)


def test_a_file_that_shrank_cuts_the_transfer(file: int, tmp_path: Path) -> None:
    """What is missing is never passed off as the end."""
    os.truncate(tmp_path / "file", CHUNK)
    assert asyncio.run(drain_broken(FileBody(file, 0, len(DATA)))) == DATA[:CHUNK]


# Replies


def test_unverified_bytes_are_passed_on(upstream: HttpClient, server: FaultServer) -> None:
    """Without a digest the body is upstream's own, of a length that nobody may know."""
    body = ReplyBody(send(upstream, server, Content(DATA, chunked=True)), in_thread)
    assert body.size is None
    assert b"".join(asyncio.run(drain(body))) == DATA


def test_a_broken_connection_cuts_the_transfer(upstream: HttpClient, server: FaultServer) -> None:
    """What upstream broke off is not whole here either."""
    reply = send(upstream, server, Content(DATA, cut_after=100_000, reset=False))
    assert DATA.startswith(asyncio.run(drain_broken(ReplyBody(reply, in_thread))))


def test_a_body_can_be_closed_in_the_middle(upstream: HttpClient, server: FaultServer) -> None:
    """A client that leaves ends the transfer; reading on gives nothing."""

    async def scenario() -> bytes:
        body = ReplyBody(send(upstream, server, Content(DATA)), in_thread)
        assert await body.read()
        body.close()
        body.close()
        return await body.read()

    assert asyncio.run(scenario()) == b""


# Stretches, which the kernel sends by itself


def test_a_stretch_is_what_read_would_give(file: int) -> None:
    """Nothing is read by asking; what was sent from it is skipped."""

    async def scenario() -> None:
        body = FileBody(file, 10, 100)
        assert body.stretch(1000) == Stretch(file, 10, 90)
        assert body.stretch(20) == Stretch(file, 10, 20)
        body.skip(20)
        assert await body.read(5) == DATA[30:35]
        assert body.stretch(1000) == Stretch(file, 35, 65)
        body.skip(65)
        assert body.stretch(1000) is None
        assert await body.read() == b""
        body.close()
        assert body.stretch(1000) is None

    asyncio.run(scenario())


def test_what_goes_on_elsewhere_counts_what_the_kernel_sent(file: int) -> None:
    """A disk that fails after a stretch is made up for from behind that stretch."""
    offsets = []

    async def resume(given: int) -> Body:
        offsets.append(given)
        return LostBody(b"rest")

    async def scenario() -> None:
        body = ContinuedBody(FileBody(file, 0, len(DATA)), resume)
        assert body.stretch(10) == Stretch(file, 0, 10)
        body.skip(10)
        os.truncate(f"/proc/self/fd/{file}", 10)
        assert await body.read() == b"rest"
        assert body.stretch(10) is None

    asyncio.run(scenario())
    assert offsets == [10]


def test_a_growing_file_has_no_stretch(file: int) -> None:
    """Its last byte may yet turn out wrong, and is held back."""
    body = FileBody(file, 0, len(DATA), growth=NeverWhole())
    assert body.stretch(1000) is None
    body.close()


# Bodies that go on elsewhere


def test_a_lost_disk_is_made_up_for(file: int) -> None:
    """The second source is asked for what follows the bytes that were given."""
    first = LostBody(DATA[:10], DATA[10:30])
    offsets = []

    async def resume(given: int) -> Body:
        offsets.append(given)
        return FileBody(file, given, len(DATA))

    assert b"".join(asyncio.run(drain(ContinuedBody(first, resume)))) == DATA
    assert offsets == [30]
    assert first.closed == 1


def test_a_second_loss_is_final() -> None:
    """A body goes on elsewhere once."""
    lost: list[LostBody] = []

    async def resume(given: int) -> Body:
        lost.append(LostBody(b"%d" % given))
        return lost[-1]

    assert asyncio.run(drain_broken(ContinuedBody(LostBody(b"ab"), resume))) == b"ab2"
    assert len(lost) == 1


def test_wrong_bytes_are_not_made_up_for(upstream: HttpClient, server: FaultServer) -> None:
    """Only a failure of our own disk sends the reader elsewhere."""

    async def resume(given: int) -> Body:
        raise AssertionError(f"resumed at {given}")

    reply = send(upstream, server, Content(b"xy"))
    first = VerifiedBody(ReplyBody(reply, in_thread), Digest.of(b"other"))
    assert asyncio.run(drain_broken(ContinuedBody(first, resume))) == b"x"


def test_a_resumed_fetch_that_fails_cuts_the_transfer() -> None:
    """Where the second source cannot be had, the reader learns that it is not whole."""

    async def resume(given: int) -> Body:
        raise BodyError(f"nothing at {given}")

    assert asyncio.run(drain_broken(ContinuedBody(LostBody(b"ab"), resume))) == b"ab"


def test_the_last_who_reads_a_large_blob_that_was_evicted_gives_it_back(tmp_path: Path) -> None:
    """On a thread, since the file system may take its time: the loop goes on."""
    path = tmp_path / "large"
    with path.open("wb") as made:
        made.truncate(9 * 1024**3)
    file = os.open(path, os.O_RDONLY)
    body = FileBody(file, 8 * 1024**3, 8 * 1024**3 + 3)
    path.unlink()
    assert asyncio.run(drain(body)) == [bytes(3)]
    eventually(lambda: not is_open(file), what="closed")

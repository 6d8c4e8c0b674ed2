"""A growing file: all who follow it get the same bytes, and the last one when they are verified."""

import asyncio
import threading
from functools import partial
from pathlib import Path

import pytest

from entrepot.protocol.messages import BodyError
from entrepot.storage.partials.map_file import boot_id, map_of
from entrepot.storage.partials.partial_map import covered_by
from entrepot.transfer import growing_file
from entrepot.transfer.growing_file import GrowingFile
from rig.bodies import read, read_broken
from rig.downloads import DATA, ENDLESS, PATH, WHOLE, WRONG, Fetcher
from rig.faults import Content, FaultServer, Gate
from rig.process import eventually


def test_all_who_read_get_the_same_bytes(fetcher: Fetcher, server: FaultServer) -> None:
    """Wholes and parts, before and after the bytes come, from one fetch."""
    gate = Gate(100_000)
    parts = [(0, len(DATA)), (0, 100), (250_000, 299_999), (len(DATA) - 1, len(DATA)), (7, 7)]

    async def scenario() -> list[bytes]:
        async with fetcher.fetching(Content(DATA, gate=gate), *parts) as fetch:
            readers = asyncio.gather(*(read(body) for body in fetch.bodies))
            gate.open()
            return await readers

    assert asyncio.run(scenario()) == [DATA[start:stop] for start, stop in parts]
    assert len(server.requests) == 1


def test_a_body_of_unknown_length_is_given_to_its_end(fetcher: Fetcher) -> None:
    """Without Content-Length the end comes with the verification."""

    async def scenario() -> bytes:
        async with fetcher.fetching(Content(DATA, chunked=True), ENDLESS) as fetch:
            return await read(fetch.bodies[0])

    assert asyncio.run(scenario()) == DATA


def test_the_size_is_known_when_it_has_settled(fetcher: Fetcher) -> None:
    """Who needs the size waits for the end."""

    async def scenario() -> int | None:
        async with fetcher.fetching(Content(DATA, chunked=True)) as fetch:
            await fetch.download.file.settled()
            return fetch.download.file.size

    assert asyncio.run(scenario()) == len(DATA)


def test_a_reader_outlives_the_download(fetcher: Fetcher) -> None:
    """What was opened while it ran can be read when nothing of it is left."""

    async def scenario() -> bytes:
        async with fetcher.fetching(Content(DATA), WHOLE) as fetch:
            await fetch.ended()
            fetcher.path.unlink()
            return await read(fetch.bodies[0])

    assert asyncio.run(scenario()) == DATA


def test_a_reader_that_leaves_harms_nobody(fetcher: Fetcher) -> None:
    """The fetch goes on for the others, and for the cache."""
    gate = Gate(100_000)

    async def scenario() -> bytes:
        async with fetcher.fetching(Content(DATA, gate=gate), WHOLE, WHOLE) as fetch:
            leaving = asyncio.create_task(read(fetch.bodies[0]))
            staying = asyncio.create_task(read(fetch.bodies[1]))
            await asyncio.sleep(0)
            leaving.cancel()
            gate.open()
            return await staying

    assert asyncio.run(scenario()) == DATA


# The last byte


def test_the_last_byte_of_the_whole_waits_for_the_verification(fetcher: Fetcher) -> None:
    """Of bytes that do not fit nobody gets all."""

    async def scenario() -> tuple[bytes, BodyError]:
        async with fetcher.fetching(Content(WRONG), WHOLE) as fetch:
            return await read_broken(fetch.bodies[0])

    given, error = asyncio.run(scenario())
    assert given == WRONG[:-1]
    assert "hash" in str(error)


@pytest.mark.parametrize(("start", "stop"), [(0, 100), (1000, 2000), (5, 6), (100_000, 299_999)])
def test_the_last_byte_of_a_part_waits_for_the_verification(
    fetcher: Fetcher, start: int, stop: int
) -> None:
    """A range is a whole transfer too: it never ends well where the blob does not."""

    async def scenario() -> tuple[bytes, BodyError]:
        async with fetcher.fetching(Content(WRONG), (start, stop)) as fetch:
            return await read_broken(fetch.bodies[0])

    given, _ = asyncio.run(scenario())
    assert given == WRONG[start : stop - 1]


def test_a_part_is_given_up_to_its_last_byte_as_it_comes(fetcher: Fetcher) -> None:
    """Nobody waits for more than that byte."""
    gate = Gate(200_000)

    async def scenario() -> tuple[bytes, bytes]:
        async with fetcher.fetching(Content(DATA, gate=gate), (0, 1000)) as fetch:
            body = fetch.bodies[0]
            begin = await body.read()
            gate.open()
            return begin, await read(body)

    assert asyncio.run(scenario()) == (DATA[:999], DATA[999:1000])


# What is left


@pytest.mark.parametrize(("content", "left"), [(b"", False), (b"x", True)])
def test_only_an_empty_file_is_cleared_away(
    fetcher: Fetcher,
    content: bytes,
    left: bool,  # noqa: FBT001 a column of the table
) -> None:
    """A fetch that never began leaves what an earlier one had got."""
    fetcher.path.write_bytes(content)
    fetcher.server.routes[PATH] = Content(DATA)

    async def scenario() -> None:
        fetch = fetcher.prepare()
        fetch.reply.close()
        fetch.download.file.discard_if_empty()
        fetch.download.file.close()

    asyncio.run(scenario())
    assert fetcher.path.exists() is left


# Filled in any order


def test_a_map_that_cannot_be_written_lets_the_file_end(growing: GrowingFile) -> None:
    """Nobody waits for a writer that has failed."""
    map_of(growing.path).mkdir()
    with pytest.raises(IsADirectoryError):
        growing.write_at(100, b"x")
    ending = threading.Thread(target=growing.shut, daemon=True)
    ending.start()
    ending.join(10)
    assert not ending.is_alive()
    assert growing.written == 0


def test_what_has_gaps_is_put_on_the_disk_now_and_then(
    growing: GrowingFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a machine that loses power in the middle of a large blob has not all to fetch again."""
    monkeypatch.setattr(growing_file, "_SYNC_BYTES", 1000)
    after_a_reboot = partial(_covered, growing.path, b"another boot ...")
    growing.write_at(500, b"x" * 900)
    assert after_a_reboot() == 0
    growing.write_at(0, b"x" * 100)
    eventually(lambda: after_a_reboot() >= 900, what="it is on the disk")
    assert _covered(growing.path, boot_id()) == 1000


def _covered(path: Path, boot: bytes) -> int:
    with path.open("rb") as file:
        return covered_by(path, file.fileno(), boot).total

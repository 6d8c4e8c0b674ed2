"""One fetch into a growing file: verified, stopped and continued, within the room that there is."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import BodyError
from entrepot.transfer.errors import DownloadError, MismatchError, StorageLostError
from entrepot.transfer.growing_file import State
from rig.bodies import read, read_broken
from rig.downloads import DATA, ENDLESS, LIMIT, PATH, WHOLE, WRONG, Fetcher, no_file_beyond, until
from rig.faults import Content, FaultServer, Gate, Handler, first, status


@pytest.mark.parametrize("content", [DATA, b"x", b""])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_blob_is_fetched_and_verified(
    fetcher: Fetcher,
    content: bytes,
    algorithm: str,
    chunked: bool,  # noqa: FBT001 with and without a length
) -> None:
    """The file is whole, and the outcome is well."""
    handler = Content(content, chunked=chunked, media_type="a/b")

    async def scenario() -> None:
        async with fetcher.fetching(handler, digest=Digest.of(content, algorithm)) as fetch:
            assert fetch.download.media_type == "a/b"
            assert await fetch.ended() is None
            assert fetch.download.file.state is State.VERIFIED
            assert fetch.download.file.size == fetch.download.file.written == len(content)

    asyncio.run(scenario())
    assert fetcher.path.read_bytes() == content


@pytest.mark.parametrize("content", [WRONG, DATA + b"x", DATA[:-1], b""])
@pytest.mark.parametrize("chunked", [False, True])
def test_other_bytes_are_a_mismatch(
    fetcher: Fetcher,
    content: bytes,
    chunked: bool,  # noqa: FBT001 with and without a length
) -> None:
    """One bit, one byte more or less, nothing at all."""
    outcome = asyncio.run(fetcher.fetch(Content(content, chunked=chunked)))
    assert isinstance(outcome, MismatchError)


# Stopping and continuing


def test_a_stopped_fetch_is_continued_by_the_next_process(
    fetcher: Fetcher, server: FaultServer
) -> None:
    """What was fetched stays, and only the rest is asked for."""
    gate = Gate(100_000)

    async def stopped() -> Exception | None:
        async with fetcher.fetching(Content(DATA, gate=gate)) as fetch:
            await fetch.download.file.readable_end(0)
            fetch.download.stop()
            gate.allow(100_000)  # and not the end
            return await fetch.ended()

    assert isinstance(asyncio.run(stopped()), DownloadError)
    kept = fetcher.path.stat().st_size
    assert 0 < kept < len(DATA)
    assert asyncio.run(fetcher.fetch(Content(DATA))) is None
    assert fetcher.path.read_bytes() == DATA
    assert server.requests[-1].range == f"bytes={kept - 1}-"
    assert server.requests[-1].sent == len(DATA) - kept + 1


def test_a_reader_of_a_stopped_fetch_is_cut(fetcher: Fetcher) -> None:
    """The proxy is stopping: what was given is not whole."""
    gate = Gate(100_000)

    async def scenario() -> tuple[bytes, BodyError]:
        async with fetcher.fetching(Content(DATA, gate=gate), WHOLE) as fetch:
            await fetch.download.file.readable_end(0)
            fetch.download.stop()
            gate.open()
            return await read_broken(fetch.bodies[0])

    given, error = asyncio.run(scenario())
    assert DATA.startswith(given)
    assert len(given) < len(DATA)
    assert not isinstance(error, StorageLostError)


@pytest.mark.parametrize("kept", [1, 150_000, len(DATA)])
@pytest.mark.parametrize("ranges", [False, True])
def test_a_file_of_an_earlier_process_is_continued(
    fetcher: Fetcher,
    kept: int,
    ranges: bool,  # noqa: FBT001 with 206 and with 200
) -> None:
    """From any length on, whole ones included; a 200 begins again."""
    fetcher.path.write_bytes(DATA[:kept])

    async def scenario() -> bytes:
        async with fetcher.fetching(Content(DATA, ranges=ranges), WHOLE) as fetch:
            return await read(fetch.bodies[0])

    assert asyncio.run(scenario()) == DATA
    assert fetcher.path.read_bytes() == DATA


def test_a_spoilt_file_of_an_earlier_process_is_a_mismatch(fetcher: Fetcher) -> None:
    """What lay on the disk is verified with the rest."""
    fetcher.path.write_bytes(bytes(1000) + DATA[1000:2000])

    async def scenario() -> tuple[bytes, BodyError, Exception | None]:
        async with fetcher.fetching(Content(DATA), WHOLE) as fetch:
            given, error = await read_broken(fetch.bodies[0])
            return given, error, await fetch.ended()

    given, _, outcome = asyncio.run(scenario())
    assert isinstance(outcome, MismatchError)
    assert len(given) < len(DATA)


# The disk


def test_a_disk_that_takes_no_more_is_a_lost_storage(fetcher: Fetcher) -> None:
    """Readers learn that the bytes are fine upstream, after all that was written."""
    gate = Gate(100_000)

    async def scenario() -> tuple[bytes, BodyError, Exception | None]:
        async with fetcher.fetching(Content(DATA, gate=gate), WHOLE) as fetch:
            await fetch.download.file.readable_end(0)
            with no_file_beyond(150_000):
                gate.open()
                given, error = await read_broken(fetch.bodies[0])
                return given, error, await fetch.ended()

    given, error, outcome = asyncio.run(scenario())
    assert isinstance(outcome, OSError)
    assert isinstance(error, StorageLostError)
    assert given == DATA[:150_000]


@pytest.mark.parametrize(
    ("handler", "size"),
    [
        (Content(DATA), len(DATA)),
        (Content(DATA[:1]), 1),
        (Content(b""), 0),
        (Content(DATA, chunked=True), None),
    ],
)
def test_the_room_that_is_needed_is_known_before_the_first_byte(
    fetcher: Fetcher, handler: Handler, size: int | None
) -> None:
    """A blob that the limit has no room for need not be begun."""
    fetcher.server.routes[PATH] = handler

    async def scenario() -> int | None:
        fetch = fetcher.prepare()
        needed = fetch.download.accept(fetch.reply)
        fetch.reply.close()
        fetch.download.file.close()
        return needed

    assert asyncio.run(scenario()) == size


def test_a_body_of_unknown_length_that_outgrows_the_room_is_a_lost_storage(
    fetcher: Fetcher,
) -> None:
    """The limit holds where nobody announced the size."""
    assert fetcher.store.downloads.claim(fetcher.store.partials.folder / "other", LIMIT - 300_000)

    async def scenario() -> tuple[bytes, BodyError]:
        async with fetcher.fetching(Content(DATA, chunked=True), ENDLESS) as fetch:
            return await read_broken(fetch.bodies[0])

    given, error = asyncio.run(scenario())
    assert isinstance(error, StorageLostError)
    assert DATA.startswith(given)


def test_room_is_given_back_at_the_end(fetcher: Fetcher) -> None:
    """A download that ended holds nothing, however it ended."""
    for handler in (Content(DATA), Content(WRONG)):
        asyncio.run(fetcher.fetch(handler))
        fetcher.path.unlink()
    assert fetcher.store.downloads.claim(fetcher.store.partials.folder / "other", LIMIT - 100_000)


@pytest.mark.slow
def test_a_broken_database_in_the_middle_leaves_no_reader_waiting(
    fetcher: Fetcher,
) -> None:
    """Whatever claiming more room raises, the fetch ends and its readers learn of it."""
    gate = Gate(1)
    assert fetcher.store.downloads.claim(fetcher.store.partials.folder / "other", LIMIT - 1_000_000)

    async def scenario() -> BodyError:
        async with fetcher.fetching(Content(DATA, chunked=True, gate=gate), ENDLESS) as fetch:
            await until(lambda: fetch.download.file.written > 0)
            database = sqlite3.connect(fetcher.store.folder / "blobs" / "cache.db")
            database.execute("DROP TABLE Settings").close()
            database.close()
            gate.open()
            reading = read_broken(fetch.bodies[0])
            return (await asyncio.wait_for(reading, 2))[1]

    assert isinstance(asyncio.run(scenario()), BodyError)


def test_no_descriptor_is_left_open(fetcher: Fetcher) -> None:
    """After downloads that ended well and badly there are as many as before."""
    asyncio.run(fetcher.fetch(Content(DATA)))
    before = _open_on(fetcher.store.partials.folder)
    for handler in (
        Content(DATA),
        Content(WRONG),
        first(1, Content(DATA, cut_after=200_000, reset=False), status(404)),
    ):
        fetcher.path.unlink(missing_ok=True)
        asyncio.run(fetcher.fetch(handler))
    assert _open_on(fetcher.store.partials.folder) == before == 0


def _open_on(folder: Path) -> int:
    """How many of this process's descriptors are files in ``folder``."""
    links = []
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208 a snapshot of names
        try:
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115 no path
        except FileNotFoundError:
            continue
    return sum(link.startswith(str(folder)) for link in links)

"""One fetch into a growing file: verified, resumed, read by many."""

import asyncio
import functools
import gc
import os
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrepot.http_client.client import Follow, Upstream
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.response import Reply, Target
from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.messages import Body, BodyError
from entrepot.storage.capacity.download_claims import Fit
from entrepot.storage.store import Store
from entrepot.transfer.bodies import FileBody, StorageLostError
from entrepot.transfer.download import Broken, Download, MismatchError
from entrepot.transfer.growing_file import GaveWay, State
from rig.faults import Content, Exchange, FaultServer, Gate, Handler, first, status
from rig.process import eventually

DATA = os.urandom(300_000)
WRONG = DATA[:-1] + bytes([DATA[-1] ^ 1])
DIGEST = Digest.of(DATA)
PATH = "/blob"
WHOLE = (0, len(DATA))
ENDLESS = (0, None)
LIMIT = 100_000_000


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FaultServer]:
    server = FaultServer(None)
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: FaultServer) -> FaultServer:
    shared_server.reset()
    return shared_server


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream(Roots(None, None), read_seconds=10)
    yield upstream
    upstream.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "data", LIMIT)) as store:
        yield store


@dataclass
class Fetch:
    """A download, and how it ended."""

    download: Download
    reply: Reply
    over: asyncio.Event
    bodies: list[FileBody] = field(default_factory=list)

    async def ended(self) -> Exception | None:
        """What went wrong, once nothing of the download is left."""
        await self.over.wait()
        return self.download.error


@dataclass
class Fetcher:
    """Makes downloads of DIGEST from the server's PATH."""

    server: FaultServer
    upstream: Upstream
    store: Store
    now: float = 0.0

    @property
    def path(self) -> Path:
        return self.store.partials.folder / "blob"

    def reopen(self, offset: int) -> Reply:
        target = Target(Origin("http", "127.0.0.1", self.server.port), PATH)
        fields = (("Range", f"bytes={offset - 1}-"),) if offset else ()
        return self.upstream.send("GET", target, fields, follow=Follow.ANY)

    def part(self, reply: Reply, start: int, stop: int) -> Reply:
        fields = (("Range", f"bytes={start}-{stop - 1}"),)
        return self.upstream.send("GET", reply.target, fields, follow=Follow.ANY)

    def prepare(self, digest: Digest = DIGEST) -> Fetch:
        over = asyncio.Event()
        download = Download(
            digest,
            self.path,
            reopen=self.reopen,
            part=self.part,
            claim=lambda download, end: self.store.downloads.claim(
                download.path, end, download.written
            ),
            finish=self._finish,
            ended=over.set,
            loop=asyncio.get_running_loop(),
            clock=lambda: self.now,
        )
        return Fetch(download, self.reopen(download.written), over)

    def _finish(self, download: Download) -> None:
        """Give the room back; the thread that claimed it has a database connection of its own."""
        self.store.downloads.release(download.path)
        self.store.disconnect()

    @asynccontextmanager
    async def fetching(
        self, handler: Handler, *parts: tuple[int, int | None], digest: Digest = DIGEST
    ) -> AsyncIterator[Fetch]:
        """Start a download with a reader for each part; wait at the end for its thread."""
        self.server.routes[PATH] = handler
        fetch = self.prepare(digest)
        size = fetch.download.accept(fetch.reply)
        assert self.store.downloads.admit(self.path, size) is Fit.YES
        fetch.bodies = [fetch.download.body(*part) for part in parts]
        fetch.download.start()
        yield fetch
        await fetch.ended()

    async def fetch(self, handler: Handler, digest: Digest = DIGEST) -> Exception | None:
        """Download to the end; the outcome."""
        async with self.fetching(handler, digest=digest) as fetch:
            return await fetch.ended()


@pytest.fixture
def fetcher(server: FaultServer, upstream: Upstream, store: Store) -> Fetcher:
    return Fetcher(server, upstream, store)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let the kernel refuse what would make a file longer, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def read(body: Body) -> bytes:
    given = b""
    while piece := await body.read():
        given += piece
    body.close()
    return given


async def read_broken(body: Body) -> tuple[bytes, BodyError]:
    """What was given, and the error that must have ended it."""
    given = b""
    while True:
        try:
            piece = await body.read()
        except BodyError as error:
            body.close()
            return given, error
        assert piece, "it ended as if it were whole"
        given += piece


# Bytes that fit


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
            assert fetch.download.state is State.VERIFIED
            assert fetch.download.size == fetch.download.written == len(content)

    asyncio.run(scenario())
    assert fetcher.path.read_bytes() == content


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
            await fetch.download.settled()
            return fetch.download.size

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


# Broken connections


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("ranges", [False, True])
def test_a_broken_fetch_goes_on_where_it_was(
    fetcher: Fetcher,
    server: FaultServer,
    reset: bool,  # noqa: FBT001 by RST and by FIN
    ranges: bool,  # noqa: FBT001 with 206 and with 200
) -> None:
    """By Range, or from the start where upstream knows no ranges; readers notice nothing."""
    handler = Content(DATA, cut_after=200_000, cuts=1, reset=reset, ranges=ranges)

    async def scenario() -> bytes:
        async with fetcher.fetching(handler, WHOLE) as fetch:
            return await read(fetch.bodies[0])

    assert asyncio.run(scenario()) == DATA
    first_request, second = server.requests
    assert first_request.range is None
    assert second.range is not None
    assert second.status == (206 if ranges else 200)


def test_a_short_but_orderly_body_is_continued(fetcher: Fetcher, server: FaultServer) -> None:
    """An upstream that is down for a moment in between is asked again."""
    good = Content(DATA, cut_after=200_000, cuts=1, reset=False)
    outcome = asyncio.run(fetcher.fetch(first(1, good, first(1, status(503), good))))
    assert outcome is None
    assert [seen.status for seen in server.requests] == [200, 503, 206]


@pytest.mark.parametrize("ranges", [False, True])
def test_other_bytes_when_asked_again_are_a_mismatch(
    fetcher: Fetcher,
    ranges: bool,  # noqa: FBT001 with 206 and with 200
) -> None:
    """Readers have the first ones already, so both halves must be of one blob."""
    again = Content(bytes(len(DATA)), ranges=ranges)
    handler = first(1, Content(DATA, cut_after=200_000, reset=False), again)

    async def scenario() -> tuple[bytes, BodyError, Exception | None]:
        async with fetcher.fetching(handler, WHOLE) as fetch:
            given, error = await read_broken(fetch.bodies[0])
            return given, error, await fetch.ended()

    given, error, outcome = asyncio.run(scenario())
    assert isinstance(outcome, MismatchError)
    assert not isinstance(error, StorageLostError)
    assert len(given) < len(DATA)


def test_more_than_was_announced_is_a_mismatch(fetcher: Fetcher) -> None:
    """A blob that grows between two requests is not the one that was announced."""
    longer = Content(DATA + b"and more")
    handler = first(1, Content(DATA, cut_after=200_000, reset=False), longer)
    outcome = asyncio.run(fetcher.fetch(handler))
    assert isinstance(outcome, MismatchError)
    assert "more than it announced" in str(outcome)


@pytest.mark.parametrize("code", [401, 403, 404, 410, 416])
def test_a_refusal_to_go_on_ends_the_fetch_and_keeps_the_file(fetcher: Fetcher, code: int) -> None:
    """A signed URL that expired cannot be helped here; the next client continues."""
    handler = first(1, Content(DATA, cut_after=200_000, reset=False), status(code))
    outcome = asyncio.run(fetcher.fetch(handler))
    assert isinstance(outcome, Broken)
    assert not isinstance(outcome, MismatchError)
    assert str(code) in str(outcome)
    kept = fetcher.path.read_bytes()
    assert kept
    assert DATA.startswith(kept)


@pytest.mark.parametrize(
    "span", ["bytes 299000-299999/300000", "bytes */300000", "", "items 0-1/2"]
)
def test_a_206_that_is_no_continuation_ends_the_fetch(fetcher: Fetcher, span: str) -> None:
    """A gap in the bytes is never written over."""

    def elsewhere(exchange: Exchange) -> None:
        exchange.send(206, DATA[-1000:], {"Content-Range": span} if span else {})

    handler = first(1, Content(DATA, cut_after=200_000, reset=False), elsewhere)
    outcome = asyncio.run(fetcher.fetch(handler))
    gc.collect()  # a connection that was left open shows here
    assert isinstance(outcome, Broken)
    assert DATA.startswith(fetcher.path.read_bytes())


def test_a_206_of_less_than_was_asked_for_is_continued(
    fetcher: Fetcher, server: FaultServer
) -> None:
    """A server may send a part of the range only (RFC 9110 section 15.3.7)."""
    fetcher.path.write_bytes(DATA[:1000])

    def part(exchange: Exchange) -> None:
        exchange.send(206, DATA[999:50_000], {"Content-Range": "bytes 999-49999/300000"})

    outcome = asyncio.run(fetcher.fetch(first(1, part, Content(DATA))))
    assert outcome is None
    assert len(server.requests) == 2


# Stopping and continuing


def test_a_stopped_fetch_is_continued_by_the_next_process(
    fetcher: Fetcher, server: FaultServer
) -> None:
    """What was fetched stays, and only the rest is asked for."""
    gate = Gate(100_000)

    async def stopped() -> Exception | None:
        async with fetcher.fetching(Content(DATA, gate=gate)) as fetch:
            await fetch.download.beyond(0)
            fetch.download.stop()
            gate.allow(100_000)  # and not the end
            return await fetch.ended()

    assert isinstance(asyncio.run(stopped()), Broken)
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
            await fetch.download.beyond(0)
            fetch.download.stop()
            gate.open()
            return await read_broken(fetch.bodies[0])

    given, error = asyncio.run(scenario())
    assert DATA.startswith(given)
    assert len(given) < len(DATA)
    assert not isinstance(error, StorageLostError)


def test_a_pause_between_attempts_is_ended_by_stopping(fetcher: Fetcher) -> None:
    """Nobody waits for an upstream that is down when the proxy stops."""
    gone = first(1, Content(DATA, cut_after=200_000, reset=False), status(503))

    async def scenario() -> Exception | None:
        async with fetcher.fetching(gone) as fetch:
            await fetch.download.beyond(100_000)
            fetch.download.stop()
            return await fetch.ended()

    assert "stopping" in str(asyncio.run(scenario()))


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


def test_a_first_206_that_is_no_continuation_is_refused(fetcher: Fetcher) -> None:
    """It is known before anything is written."""
    fetcher.path.write_bytes(DATA[:1000])
    fetcher.server.routes[PATH] = status(206, b"x", {"Content-Range": "bytes 5000-5000/300000"})

    async def scenario() -> None:
        fetch = fetcher.prepare()
        with pytest.raises(Broken, match="later range"):
            fetch.download.accept(fetch.reply)
        fetch.reply.close()
        fetch.download.close()

    asyncio.run(scenario())
    assert fetcher.path.read_bytes() == DATA[:1000]


# The disk


def test_a_disk_that_takes_no_more_is_a_lost_storage(fetcher: Fetcher) -> None:
    """Readers learn that the bytes are fine upstream, after all that was written."""
    gate = Gate(100_000)

    async def scenario() -> tuple[bytes, BodyError, Exception | None]:
        async with fetcher.fetching(Content(DATA, gate=gate), WHOLE) as fetch:
            await fetch.download.beyond(0)
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
        fetch.download.close()
        return needed

    assert asyncio.run(scenario()) == size


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
        fetch.download.discard_if_empty()
        fetch.download.close()

    asyncio.run(scenario())
    assert fetcher.path.exists() is left


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
            await until(lambda: fetch.download.written > 0)
            database = sqlite3.connect(fetcher.store.folder / "blobs" / "cache.db")
            database.execute("DROP TABLE Settings").close()
            database.close()
            gate.open()
            reading = read_broken(fetch.bodies[0])
            return (await asyncio.wait_for(reading, 2))[1]

    assert isinstance(asyncio.run(scenario()), BodyError)


# Those that hardly move


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens on other threads."""
    await asyncio.to_thread(eventually, condition, within=10, what="it")


def test_what_drips_ends_once_nobody_waits_for_it(fetcher: Fetcher) -> None:
    """While somebody reads it goes on; then the next byte ends it, and the file stays."""
    gate = Gate(100_000)

    async def scenario() -> None:
        async with fetcher.fetching(Content(DATA, gate=gate), WHOLE) as fetch:
            await until(lambda: fetch.download.written == 100_000)
            fetcher.now += 61
            gate.allow(1)
            await until(lambda: fetch.download.written == 100_001)
            fetch.bodies[0].close()
            assert not fetch.download.is_read
            gate.allow(1)
            try:
                await until(lambda: isinstance(fetch.download.error, GaveWay))
            finally:
                gate.open()

    asyncio.run(scenario())
    assert fetcher.path.read_bytes() == DATA[:100_002]


def test_what_moves_goes_on_though_nobody_waits(fetcher: Fetcher) -> None:
    """Promise 3: a fetch outlives its clients, for minutes on end where it moves."""
    data, gate = os.urandom(10_000_000), Gate(1_000_000)

    async def scenario() -> Exception | None:
        async with fetcher.fetching(Content(data, gate=gate), digest=Digest.of(data)) as fetch:
            assert not fetch.download.is_read
            for end in range(1_000_000, 11_000_000, 1_000_000):
                await until(functools.partial(has, fetch, end))
                fetcher.now += 20  # twice that, for a thread that looks late, is no minute yet
                gate.allow(1_000_000)
            return await fetch.ended()

    def has(fetch: Fetch, end: int) -> bool:
        return fetch.download.written == end

    assert asyncio.run(scenario()) is None


def test_one_that_broke_off_and_hardly_moved_is_not_asked_for_again(
    fetcher: Fetcher, server: FaultServer
) -> None:
    """A registry that gives a byte and hangs up, again and again, keeps nothing for ever."""

    def drip(exchange: Exchange) -> None:
        fetcher.now += 30
        Content(DATA, cut_after=2, reset=False)(exchange)

    outcome = asyncio.run(fetcher.fetch(first(9, drip, status(404))))
    assert isinstance(outcome, GaveWay)
    assert len(server.requests) <= 5


def test_one_that_gives_way_ends_at_once(fetcher: Fetcher) -> None:
    """Though upstream sends nothing: readers are told to go on elsewhere, and the file stays."""
    gate = Gate(100_000)

    async def scenario() -> tuple[bytes, BodyError, Exception | None]:
        async with fetcher.fetching(Content(DATA, gate=gate), WHOLE) as fetch:
            await until(lambda: fetch.download.written == 100_000)
            assert not fetch.download.is_slow()
            fetcher.now += 61
            assert fetch.download.is_slow()
            fetch.download.give_way("others wait")
            given, error = await asyncio.wait_for(read_broken(fetch.bodies[0]), 5)
            outcome = await fetch.ended()
            gate.open()
            return given, error, outcome

    given, error, outcome = asyncio.run(scenario())
    assert isinstance(error, StorageLostError)
    assert isinstance(outcome, GaveWay)
    assert given == DATA[: len(given)]
    assert fetcher.path.read_bytes() == DATA[:100_000]


def test_what_is_broken_off_is_not_taken_for_an_end(fetcher: Fetcher) -> None:
    """A body without a length ends with its connection; not so where we ended that."""
    gate = Gate()

    def endless(exchange: Exchange) -> None:
        exchange.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA[:100_000])
        exchange.hang_up()
        gate.take(1)

    async def scenario() -> Exception | None:
        async with fetcher.fetching(endless, ENDLESS) as fetch:
            await until(lambda: fetch.download.written == 100_000)
            fetch.download.give_way("others wait")
            outcome = await fetch.ended()
            fetch.bodies[0].close()
            gate.open()
            return outcome

    assert isinstance(asyncio.run(scenario()), GaveWay)
    assert fetcher.path.exists()


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

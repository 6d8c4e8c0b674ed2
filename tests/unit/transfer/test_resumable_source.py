"""Broken connections: resumed with Range where that can be; else the fetch ends, its file stays."""

import asyncio
import gc

import pytest

from entrepot.protocol.messages import BodyError
from entrepot.transfer.errors import DownloadError, GaveWay, MismatchError, StorageLostError
from rig.bodies import read, read_broken
from rig.downloads import DATA, ENDLESS, PATH, WHOLE, Fetcher, until
from rig.faults import Content, Exchange, FaultServer, Gate, first, status


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
    assert isinstance(outcome, DownloadError)
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
    assert isinstance(outcome, DownloadError)
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


def test_a_first_206_that_is_no_continuation_is_refused(fetcher: Fetcher) -> None:
    """It is known before anything is written."""
    fetcher.path.write_bytes(DATA[:1000])
    fetcher.server.routes[PATH] = status(206, b"x", {"Content-Range": "bytes 5000-5000/300000"})

    async def scenario() -> None:
        fetch = fetcher.prepare()
        with pytest.raises(DownloadError, match="later range"):
            fetch.download.accept(fetch.reply)
        fetch.reply.close()
        fetch.download.file.close()

    asyncio.run(scenario())
    assert fetcher.path.read_bytes() == DATA[:1000]


def test_a_pause_between_attempts_is_ended_by_stopping(fetcher: Fetcher) -> None:
    """Nobody waits for an upstream that is down when the proxy stops."""
    gone = first(1, Content(DATA, cut_after=200_000, reset=False), status(503))

    async def scenario() -> Exception | None:
        async with fetcher.fetching(gone) as fetch:
            await fetch.download.file.readable_end(100_000)
            fetch.download.stop()
            return await fetch.ended()

    assert "stopping" in str(asyncio.run(scenario()))


def test_what_is_broken_off_is_not_taken_for_an_end(fetcher: Fetcher) -> None:
    """A body without a length ends with its connection; not so where we ended that."""
    gate = Gate()

    def endless(exchange: Exchange) -> None:
        exchange.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA[:100_000])
        exchange.hang_up()
        gate.take(1)

    async def scenario() -> Exception | None:
        async with fetcher.fetching(endless, ENDLESS) as fetch:
            await until(lambda: fetch.download.file.written == 100_000)
            fetch.download.give_way("others wait")
            outcome = await fetch.ended()
            fetch.bodies[0].close()
            gate.open()
            return outcome

    assert isinstance(asyncio.run(scenario()), GaveWay)
    assert fetcher.path.exists()

"""Transfers that hardly move, and connections that are slow."""

import asyncio
import functools
import os
import threading

from entrepot.http_client.client import HttpClient
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import BodyError
from entrepot.transfer.errors import GaveWay, StorageLostError
from entrepot.transfer.throughput import JUDGE_SECONDS, Pace
from rig.bodies import read_broken, send
from rig.downloads import DATA, WHOLE, Fetch, Fetcher, until
from rig.faults import Content, Exchange, FaultServer, Gate, first, status


def test_what_drips_ends_once_nobody_waits_for_it(fetcher: Fetcher) -> None:
    """While somebody reads it goes on; then the next byte ends it, and the file stays."""
    gate = Gate(100_000)

    async def scenario() -> None:
        async with fetcher.fetching(Content(DATA, gate=gate), WHOLE) as fetch:
            await until(lambda: fetch.download.file.written == 100_000)
            fetcher.now += 61
            gate.allow(1)
            await until(lambda: fetch.download.file.written == 100_001)
            fetch.bodies[0].close()
            assert not fetch.download.file.is_followed
            gate.allow(1)
            try:
                await until(lambda: isinstance(fetch.download.file.error, GaveWay))
            finally:
                gate.open()

    asyncio.run(scenario())
    assert fetcher.path.read_bytes() == DATA[:100_002]


def test_what_moves_goes_on_though_nobody_waits(fetcher: Fetcher) -> None:
    """Promise 3: a fetch outlives its clients, for minutes on end where it moves."""
    data, gate = os.urandom(10_000_000), Gate(1_000_000)

    async def scenario() -> Exception | None:
        async with fetcher.fetching(Content(data, gate=gate), digest=Digest.of(data)) as fetch:
            assert not fetch.download.file.is_followed
            for end in range(1_000_000, 11_000_000, 1_000_000):
                await until(functools.partial(has, fetch, end))
                fetcher.now += 20  # twice that, for a thread that looks late, is no minute yet
                gate.allow(1_000_000)
            return await fetch.ended()

    def has(fetch: Fetch, end: int) -> bool:
        return fetch.download.file.written == end

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
            await until(lambda: fetch.download.file.written == 100_000)
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


# One connection


def test_an_upstream_that_lets_us_wait_is_slow(upstream: HttpClient, server: FaultServer) -> None:
    gate = Gate(1)
    pace = Pace()
    with send(upstream, server, Content(DATA, gate=gate)) as reply:
        threading.Timer(1.5 * JUDGE_SECONDS, gate.open).start()
        assert pace.read(reply, 1) == DATA[:1]
        assert not pace.is_slow()
        pace.read(reply, 1)
        assert pace.is_slow()

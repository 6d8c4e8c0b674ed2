"""The page's own address: who connects and asks nothing does not stay."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from entrepot.admin.listening import serve

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def answer(request: Request) -> PlainTextResponse:
    del request
    return PlainTextResponse("here")


APPLICATION = Starlette(routes=[Route("/", answer)])


@contextlib.asynccontextmanager
async def served(patience: float) -> AsyncIterator[int]:
    """A server; its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopping = asyncio.Event()
    serving = asyncio.create_task(serve(APPLICATION, [listening], stopping, patience))
    try:
        yield listening.getsockname()[1]
    finally:
        stopping.set()
        await serving
        listening.close()


def run(patience: float, ask: Callable[[int], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        async with asyncio.timeout(30), served(patience) as port:
            await ask(port)

    asyncio.run(all_of_it())


@pytest.mark.parametrize("sent", [b"", b"GET", HEAD, HEAD + b"\r\n" + HEAD])
def test_who_asks_nothing_is_closed(sent: bytes) -> None:
    """Before the first byte, in the middle of a head, and after an answer."""

    async def ask(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        received = await reader.read()
        assert received.endswith(b"here") or not received
        writer.close()
        await writer.wait_closed()

    run(0.1, ask)


def test_who_asks_stays() -> None:
    """A browser's connection serves its next requests."""

    async def ask(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(HEAD + b"\r\n")
            assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()

    run(60, ask)

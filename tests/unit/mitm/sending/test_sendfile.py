"""Stretches of a file that the kernel sends, beside asyncio's own transport."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from entrepot.mitm.sending.sendfile import Sendfile
from entrepot.protocol.messages import Stretch

DATA = os.urandom(8 * 1024 * 1024)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamWriter, socket.socket]]:
    """A server's writer, and its client as a bare socket that reads when it is told to."""
    accepted = asyncio.Queue[asyncio.StreamWriter]()
    server = await asyncio.start_server(lambda _, writer: accepted.put(writer), "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    client.settimeout(0)
    writer = await accepted.get()
    try:
        yield writer, client
    finally:
        client.close()
        writer.close()
        server.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def receive(client: socket.socket, count: int) -> bytes:
    loop, data = asyncio.get_running_loop(), bytearray()
    while len(data) < count and (part := await loop.sock_recv(client, 1 << 20)):
        data += part
    return bytes(data)


def test_a_stretch_arrives_behind_what_was_written(path: Path) -> None:
    """More than the socket takes at once; then the transport is as it was."""

    async def scenario() -> None:
        file = os.open(path, os.O_RDONLY)
        async with connected() as (writer, client):
            kernel = Sendfile(writer.transport)
            writer.write(b"head")
            await writer.drain()
            sending = asyncio.create_task(kernel.send(Stretch(file, 10, len(DATA) - 20)))
            assert await receive(client, len(DATA) - 16) == b"head" + DATA[10:-10]
            assert await sending == len(DATA) - 20
            kernel.close()
            writer.write(b"next")
            assert await receive(client, 4) == b"next"
        os.close(file)

    asyncio.run(scenario())


def test_a_file_that_is_shorter_than_it_was_gives_what_it_has(path: Path) -> None:
    async def scenario() -> None:
        file = os.open(path, os.O_RDONLY)
        async with connected() as (writer, client):
            kernel = Sendfile(writer.transport)
            sending = asyncio.create_task(kernel.send(Stretch(file, 0, 2 * len(DATA))))
            os.truncate(path, 1000)
            assert await sending in (0, 1000)
            assert await kernel.send(Stretch(file, 1000, 10)) == 0
            kernel.close()
            assert client.fileno() > 0
        os.close(file)

    asyncio.run(scenario())


def test_nobody_waits_for_the_disk(path: Path) -> None:
    """What is not in the page cache is for a thread to read."""
    file = os.open(path, os.O_RDWR)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        os.preadv(file, [bytearray(1)], len(DATA) - 1, os.RWF_NOWAIT)
    except BlockingIOError:
        pass
    else:
        pytest.skip("this filesystem keeps its pages")

    async def scenario() -> None:
        async with connected() as (writer, _):
            kernel = Sendfile(writer.transport)
            assert await kernel.send(Stretch(file, 0, 1000)) == 0
            kernel.close()

    asyncio.run(scenario())
    os.close(file)


def test_a_client_that_is_given_up_is_waited_for_no_more(path: Path) -> None:
    """Its descriptors are gone, and the event loop knows nothing of them."""

    async def scenario() -> None:
        file, before = os.open(path, os.O_RDONLY), descriptors()
        async with connected() as (writer, client):
            kernel = Sendfile(writer.transport)
            sending = asyncio.create_task(kernel.send(Stretch(file, 0, len(DATA))))
            await receive(client, 1)
            await asyncio.sleep(0)
            assert not sending.done()
            writer.transport.abort()
            kernel.close()
            with pytest.raises(ConnectionResetError):
                await sending
        await asyncio.sleep(0)
        assert descriptors() <= before
        os.close(file)
        async with connected() as (again, client):  # whose descriptors have the same numbers
            again.write(b"x")
            assert await receive(client, 1) == b"x"

    asyncio.run(scenario())


def test_a_client_that_leaves_ends_the_sending(path: Path) -> None:
    async def scenario() -> None:
        file = os.open(path, os.O_RDONLY)
        async with connected() as (writer, client):
            kernel = Sendfile(writer.transport)
            sending = asyncio.create_task(kernel.send(Stretch(file, 0, len(DATA))))
            await receive(client, 1)
            client.close()
            with pytest.raises(OSError, match=r"Broken pipe|reset|closed"):
                await sending
            kernel.close()
        os.close(file)

    asyncio.run(scenario())

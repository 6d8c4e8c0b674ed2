"""A body whose end waits for a verdict on its bytes."""

import asyncio
import os
from pathlib import Path

import pytest

from entrepot.protocol.messages import BodyError
from entrepot.pull.blobs.held_back import HeldBackBody
from entrepot.transfer.bodies import FileBody
from rig.bodies import drain

DATA = bytes(range(256)) * 8


@pytest.fixture
def body(tmp_path: Path) -> FileBody:
    (tmp_path / "file").write_bytes(DATA)
    return FileBody(os.open(tmp_path / "file", os.O_RDONLY), 0, len(DATA))


def test_all_but_the_last_byte_comes_before_the_verdict(body: FileBody) -> None:
    """By reading, or by the kernel from the file; the last one when the verdict is there."""

    async def run() -> None:
        verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        held = HeldBackBody(body, verdict)
        stretch = held.stretch(1 << 20)
        assert stretch is not None
        assert stretch.count == len(DATA) - 1
        held.skip(100)
        read = DATA[:100]
        while len(read) < len(DATA) - 1:
            read += await held.read(1000)
        assert held.stretch(1 << 20) is None
        last = asyncio.create_task(held.read())
        await asyncio.sleep(0)
        assert not last.done()
        verdict.set_result(True)
        assert read + await last == DATA
        assert await held.read() == b""
        held.close()

    asyncio.run(run())


def test_what_is_wrong_is_never_whole(body: FileBody) -> None:

    async def run() -> None:
        verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        verdict.set_result(False)
        held = HeldBackBody(body, verdict)
        assert await held.read() == DATA[:-1]
        with pytest.raises(BodyError, match="hash"):
            await held.read()
        held.close()

    asyncio.run(run())


def test_who_leaves_does_not_end_the_verdict(body: FileBody) -> None:
    """It is everybody's."""

    async def run() -> None:
        verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        held = HeldBackBody(body, verdict)
        await held.read()
        last = asyncio.create_task(held.read())
        await asyncio.sleep(0)
        last.cancel()
        await asyncio.wait([last])
        assert not verdict.cancelled()
        verdict.set_result(True)
        assert await drain(held) == [DATA[-1:]]
        held.close()

    asyncio.run(run())

"""A relay that makes a loopback server far away.

`python -m bench.relay LISTEN TARGET SECONDS RATE`

What comes in at one end leaves the other half a round trip later, in order. A new connection takes
one round trip before its first byte, as TCP's own handshake does. RATE bounds the bytes a second
that each connection gets from the server, from its first byte on; 0 is any speed. There is no slow
start, which favours new connections.
"""

import asyncio
import sys
from pathlib import Path

from rig.process import Daemon, accepts, clean_environment

_CHUNK = 1 << 18
_UNDER_WAY = 256  # chunks in one direction: far more than a round trip's worth
_PACED = 1 << 16  # the chunk where there is a rate: it is all that comes at once
_PACED_UNDER_WAY = 16  # a round trip of 20 ms at 30 MB/s is 600 kB

Due = tuple[float, bytes]


class Relay:
    """The relay as a process of its own."""

    def __init__(
        self, folder: Path, listen: int, target: int, round_trip: float, rate: int = 0
    ) -> None:
        tests = Path(__file__).parents[1]
        self.daemon = Daemon(
            "relay",
            [sys.executable, "-m", "bench.relay", *map(str, (listen, target, round_trip, rate))],
            log=folder / f"relay-{listen}.log",
            env=clean_environment(folder, PYTHONPATH=str(tests)),
            ready=lambda: accepts(listen),
        )


async def _serve(listen: int, target: int, round_trip: float, rate: int) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            _one_way(reader, far_writer, round_trip / 2),
            _one_way(far_reader, writer, round_trip / 2, rate),
        )

    server = await asyncio.start_server(accept, "127.0.0.1", listen, limit=_CHUNK)
    async with server:
        await server.serve_forever()


async def _one_way(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, rate: int = 0
) -> None:
    """Pass bytes on, each `delay` seconds after it came; the end too. `rate`: bytes a second."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Due] = asyncio.Queue(_PACED_UNDER_WAY if rate else _UNDER_WAY)

    async def receive() -> None:
        data, passed = b"-", 0.0
        while data:
            try:
                data = await reader.read(_PACED if rate else _CHUNK)
            except OSError:
                data = b""
            passed = max(passed, loop.time()) + (len(data) / rate if rate else 0)
            await queue.put((passed + delay, data))

    async def send() -> None:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                break
            try:
                writer.write(data)
                await writer.drain()
            except OSError:
                continue  # the other end is gone: take what is left, so that receive() ends
        writer.close()

    await asyncio.gather(receive(), send())


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))

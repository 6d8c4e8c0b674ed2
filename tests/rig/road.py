"""A road of known length: a relay on loopback that holds every byte for half a round trip.

The handshake of TCP, which the kernel answers at once, is made up for at a connection's first
bytes. So whoever talks through it waits as for an upstream that is far away.
"""

import asyncio
import threading
from collections.abc import Iterable


class Road:
    """Leads from `port` to `target`, another loopback port; `connections` counts all that came.

    `round_trip` (seconds) may be changed while it runs.
    """

    def __init__(self, target: int, round_trip: float = 0.0) -> None:
        self.round_trip = round_trip
        self.connections = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        opening = asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def leading(self, resolve: Iterable[str]) -> list[str]:
        """Return HOST:PORT:ADDRESS:PORT lines, those to the target by this road."""
        lines = (line.rpartition(":") for line in resolve)
        return [f"{to}:{self.port if int(port) == self._target else port}" for to, _, port in lines]

    def stop(self) -> None:
        """End every connection."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accepted(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self.connections += 1
        connected = self._loop.time() + self.round_trip
        far, there = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(near, there, connected))
                both.create_task(self._carry(far, back, 0.0))
        except* OSError:
            pass  # one end was reset: so is the other
        finally:
            back.transport.abort()
            there.transport.abort()

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, connected: float
    ) -> None:
        """Pass bytes on one way, and then the end of them, each when its time has come."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)

        async def deliver() -> None:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - self._loop.time())
                if not data:
                    target.write_eof()
                    return
                target.write(data)
                await target.drain()

        async def take() -> None:
            data = b"more"
            while data:
                data = await source.read(1 << 16)
                begun = max(self._loop.time(), connected)
                await under_way.put((begun + self.round_trip / 2, data))

        async with asyncio.TaskGroup() as both:
            both.create_task(deliver())
            both.create_task(take())

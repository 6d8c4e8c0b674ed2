"""A road of known length: a relay on loopback that holds every byte for half a round trip.

The handshake of TCP, which the kernel answers at once, is made up for at a connection's first
bytes. So whoever talks through it waits as for an upstream that is far away. It can be cut as by
a firewall that drops packets: then nothing arrives, and nothing says so.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterable

_BACKLOG = 100


class Road:
    """Leads from `port` to `target`, another loopback port; `connections` counts all that came.

    `round_trip` (seconds) may be changed while it runs.
    """

    def __init__(self, target: int, round_trip: float = 0.0) -> None:
        self.round_trip = round_trip
        self.connections = 0
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._free = asyncio.Event()
        self._free.set()
        self._left: int | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._listener.settimeout(0)
        self._waiting: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.port: int = self._listener.getsockname()[1]
        asyncio.run_coroutine_threadsafe(self._thaw(), self._loop).result(10)

    def leading(self, resolve: Iterable[str]) -> list[str]:
        """Return HOST:PORT:ADDRESS:PORT lines, those to the target by this road."""
        lines = (line.rpartition(":") for line in resolve)
        return [f"{to}:{self.port if int(port) == self._target else port}" for to, _, port in lines]

    def freeze(self) -> None:
        """Drop everything: what is sent does not arrive, and no connection is made any more.

        A full queue of connections that nobody accepts has the kernel drop those that follow.
        """
        asyncio.run_coroutine_threadsafe(self._freeze(), self._loop).result(10)

    def hold_after(self, count: int) -> None:
        """Take no more bytes, either way, once so many have come; connections stay."""
        self._left = count

    @property
    def is_holding(self) -> bool:
        return not self._free.is_set()

    def release(self) -> None:
        """Take bytes again, however many."""
        self._left = None
        self._loop.call_soon_threadsafe(self._free.set)

    def thaw(self) -> None:
        """Let everything through again."""
        asyncio.run_coroutine_threadsafe(self._thaw(), self._loop).result(10)

    async def _freeze(self) -> None:
        self._open.clear()
        self._accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._accepting
        self._listener.listen(0)
        for _ in range(2):
            waiting = socket.socket()
            waiting.settimeout(0)
            waiting.connect_ex(self._listener.getsockname())
            self._waiting.append(waiting)

    async def _thaw(self) -> None:
        for waiting in self._waiting:
            waiting.close()
        self._listener.listen(_BACKLOG)
        self._open.set()
        self._accepting = asyncio.create_task(self._accept())

    def stop(self) -> None:
        """End every connection."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sock in (self._listener, *self._waiting):
            sock.close()
        await asyncio.sleep(0)  # an aborted transport closes its socket in the next round

    async def _accept(self) -> None:
        while True:
            sock, _ = await self._loop.sock_accept(self._listener)
            task = asyncio.create_task(self._accepted(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _accepted(self, sock: socket.socket) -> None:
        with contextlib.ExitStack() as ends:
            ends.callback(sock.close)
            near, back = await asyncio.open_connection(sock=sock)
            ends.pop_all()
            ends.callback(back.transport.abort)
            self.connections += 1
            connected = self._loop.time() + self.round_trip
            try:
                far, there = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:  # nothing listens at its end
                return
            ends.callback(there.transport.abort)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._carry(near, there, connected))
                    both.create_task(self._carry(far, back, 0.0))
            except* OSError:
                pass  # one end was reset: so is the other

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, connected: float
    ) -> None:
        """Pass bytes on one way, and then the end of them, each when its time has come."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)

        async def deliver() -> None:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - self._loop.time())
                await self._open.wait()
                if not data:
                    target.write_eof()
                    return
                target.write(data)
                await target.drain()

        async def take() -> None:
            data = b"more"
            while data:
                await self._free.wait()
                data = await source.read(1 << 16)
                if self._left is not None:
                    self._left -= len(data)
                    if self._left <= 0:
                        self._free.clear()
                begun = max(self._loop.time(), connected)
                await under_way.put((begun + self.round_trip / 2, data))

        async with asyncio.TaskGroup() as both:
            both.create_task(deliver())
            both.create_task(take())

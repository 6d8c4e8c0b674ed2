"""The drain: a stop waits for the requests under way, and for the pulls that they belong to.

From the stop on each answer is the last of its connection (RFC 9112 section 9.6). A client that
pulls makes new connections for its next layers. Where systemd holds the socket, those wait for the
next process. Where nobody does they would be refused, so this process accepts them: of clients that
are in a pull, known by their addresses. All others are told that the proxy stops.

A pull is over when its client has asked nothing for ``PAUSE``; the drain when all are, when its
time is over, or at a second signal.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator

from mitmproxy import connection, ctx, http

from entrepot.mitm.client_connections import ClientConnection, ClientConnections
from entrepot.mitm.state import client_of

STOPPING = "the proxy is stopping: try again in a moment"
"""What a client is told that comes too late."""

PAUSE = 2.0
"""Seconds that a client in a pull takes at most for its next request, and one that has connected
for its first."""

_SETTLED = 0.1
"""Seconds after an answer in which its last bytes leave and a next request may be on its way."""

_QUIET = 1.0
"""Seconds without a byte after which a tunnel is taken for idle."""

_LOOKS_SECONDS = 0.05
_TURNS = 50
"""Of the loop: several times as many as from bytes in a socket to a request that is known."""

_CLOSING_SECONDS = 1.0


class Drain:
    """Decides how long a stop waits, and who is still served meanwhile."""

    def __init__(self, connections: ClientConnections) -> None:
        self._connections = connections
        self._pulling: frozenset[str] = frozenset()
        self._began: float | None = None
        self._given_up = asyncio.Event()

    def begin(self) -> int:
        """From now on only pulls are served; how many connections are not idle."""
        now = asyncio.get_running_loop().time()
        self._began = now
        busy = list(self._busy(now))
        recent = self._connections.last_answer
        self._pulling = frozenset(client_of(one.client) for one in busy) | {
            client for client, answered in recent.items() if now - answered < PAUSE
        }
        return len(busy)

    def give_up(self) -> None:
        """Wait no longer."""
        self._given_up.set()

    def refuses(self, client: connection.Client) -> bool:
        """Whether a client has come after the stop, and not for the rest of a pull."""
        if self._began is None:
            return False
        followed = self._connections.open.get(client.id)
        is_new = followed is None or followed.began >= self._began
        return is_new and client_of(client) not in self._pulling

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Say that the connection ends with this answer; an upgraded one goes on."""
        if self._began is None or flow.response is None:
            return
        if flow.response.status_code != 101:
            flow.response.headers["Connection"] = "close"

    async def wait(self, seconds: float, *, accepting: bool) -> int:
        """Wait for what is under way; how many connections still are not idle then.

        ``accepting``: whether clients in a pull come to this process with their next requests.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (left := deadline - loop.time()) > 0 and not self._given_up.is_set():
            # First of all, since what was accepted just now is not known of yet.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._given_up.wait(), min(left, _LOOKS_SECONDS))
            if self._goes_on(loop.time(), accepting=accepting):
                continue
            await _catch_up()
            if not self._goes_on(loop.time(), accepting=accepting):
                break
        return sum(1 for _ in self._busy(loop.time()))

    async def close_connections(self) -> None:
        """End all that are left, so that no request comes to a proxy that cannot answer."""
        handlers = ctx.master.addons.get("proxyserver").connections.values()
        each = [one.transports.get(one.client) for one in handlers]
        reading = [io.handler for io in each if io is not None and io.handler is not None]
        for one in reading:
            one.cancel("the proxy stops")
        if reading:
            await asyncio.wait(reading, timeout=_CLOSING_SECONDS)

    def _goes_on(self, now: float, *, accepting: bool) -> bool:
        if any(self._busy(now)) or self._connections.unsent():
            return True
        recent = self._connections.last_answer
        return accepting and any(now - recent.get(one, -PAUSE) < PAUSE for one in self._pulling)

    def _busy(self, now: float) -> Iterator[ClientConnection]:
        each = self._connections.open.values()
        return (one for one in each if _is_busy(one, now) and not self.refuses(one.client))


async def _catch_up() -> None:
    """Let the loop take in what has come: after a standstill, a look is due before that is read."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _is_busy(one: ClientConnection, now: float) -> bool:
    if one.flow is not None or one.transport.get_write_buffer_size():
        return True
    if one.tunnel:
        last: float = one.handler.timeout_watchdog.last_activity  # by the time of day
        return time.time() - last < _QUIET
    return now - one.turn < (_SETTLED if one.answered else PAUSE)

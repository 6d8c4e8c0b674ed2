"""The idle timeout: a client that does nothing while it is its turn is dropped after a while.

Once in a while every connection is looked at. It is the client's turn

- while bytes wait for it that it does not take, in our buffer or the kernel's;
- from the connection's begin, and after each answer, until a request's head is whole: CONNECT and
  the TLS handshake count as that, and single bytes in between do not count as something;
- while the rest of a request's body is missing.

While an answer is owed, nobody is dropped: upstream may be slow. A tunnel ends when nothing
passed either way for TUNNEL_FACTOR times as long. mitmproxy has a timeout of its own, which counts
any byte as life, never sees a client that does not read, and cuts those who wait for upstream.
"""

import asyncio
import fcntl
import struct
import termios
from dataclasses import dataclass

from mitmproxy import connection

from entrepot.events.table import Event
from entrepot.mitm.client_connections import ClientConnection, ClientConnections
from entrepot.mitm.state import ProxyState, client_of

TUNNEL_FACTOR = 12
_NEVER = 10 * 365 * 86400
_LOOKS = 4
"""How often a connection is looked at in the time that it may be idle."""


@dataclass(slots=True)
class _Look:
    """What was seen of a connection when it was last looked at."""

    since: float
    """Since when the client has done nothing."""
    waiting: int = 0
    """Bytes that it had not taken."""
    activity: float = 0.0
    """When mitmproxy last saw an event of it."""


class IdleTimeout:
    """Looks at the connections of clients, and drops those that are idle for ``--idle``."""

    def __init__(self, state: ProxyState, connections: ClientConnections) -> None:
        self._state = state
        self._connections = connections
        self._looks: dict[str, _Look] = {}
        self._watching: asyncio.Task[None] | None = None

    def client_connected(self, client: connection.Client) -> None:
        """Watch a new connection, in mitmproxy's stead."""
        self._connections.open[client.id].handler.timeout_watchdog.timeout = _NEVER
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    def client_disconnected(self, client: connection.Client) -> None:
        """Forget a connection that has ended."""
        self._looks.pop(client.id, None)

    async def _watch(self) -> None:
        seconds = self._state.parts().foundation.config.idle
        while True:
            await asyncio.sleep(seconds / _LOOKS)
            for watched in list(self._connections.open.values()):
                look = self._looks.setdefault(watched.client.id, _Look(watched.turn))
                if _is_closed(watched.transport):
                    self._forget(watched)
                elif reason := _overdue(watched, look, seconds):
                    self._drop(watched, reason)

    def _forget(self, watched: ClientConnection) -> None:
        self._looks.pop(watched.client.id, None)
        self._connections.open.pop(watched.client.id, None)

    def _drop(self, watched: ClientConnection, reason: str) -> None:
        self._forget(watched)
        self._state.parts().events.log(
            Event.CLIENT_DROPPED, client=client_of(watched.client), reason=reason
        )
        # Not close(), which would wait until the client has taken all that is written.
        watched.transport.abort()
        # Of a client that has ended its own direction nobody reads any more, so nobody sees that.
        io = watched.handler.transports.get(watched.client)
        if io is not None and io.handler is not None:
            io.handler.cancel(reason)


def _overdue(watched: ClientConnection, look: _Look, seconds: float) -> str | None:
    """Take a look; why the connection is to be dropped now, None where it is not."""
    waiting, activity = _untaken(watched.transport), watched.handler.timeout_watchdog.last_activity
    moved = activity != look.activity
    took = waiting != look.waiting
    look.since = max(look.since, watched.turn)
    look.waiting, look.activity = waiting, activity
    limit, reason = seconds, "no whole request came"
    if watched.tunnel:
        limit, reason, alive = seconds * TUNNEL_FACTOR, "nothing passed the tunnel", moved or took
    elif waiting:
        reason, alive = "it takes nothing", took
    elif watched.flow is not None:
        reason, alive = "the request's body does not go on", moved or _is_owed(watched)
    else:
        alive = took
        if watched.answered:
            reason = "no further request came"
    if alive:
        look.since = _now()
    return reason if _now() - look.since > limit else None


def _is_owed(watched: ClientConnection) -> bool:
    """Whether the next step is ours or upstream's."""
    flow, handler = watched.flow, watched.handler
    if flow is None or flow.request.timestamp_end or flow.request.method == "CONNECT":
        return True
    if handler.timeout_watchdog.blocker:
        return True  # a hook is at work
    upstream = (io.writer for conn, io in handler.transports.items() if conn != watched.client)
    return any(w is None or w.transport.get_write_buffer_size() for w in upstream)


def _untaken(transport: asyncio.Transport) -> int:
    """Bytes that were written and that the client's machine has not confirmed."""
    answer = fcntl.ioctl(_fileno(transport), termios.TIOCOUTQ, bytes(4))
    return transport.get_write_buffer_size() + int(struct.unpack("i", answer)[0])


def _is_closed(transport: asyncio.Transport) -> bool:
    return _fileno(transport) < 0


def _fileno(transport: asyncio.Transport) -> int:
    number: int = transport.get_extra_info("socket").fileno()
    return number


def _now() -> float:
    return asyncio.get_running_loop().time()

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
from typing import Any

from mitmproxy import connection, ctx, http, tls

from entrepot.events.table import Event
from entrepot.mitm.layers.connect_tunnel import TUNNEL, decouple_directions
from entrepot.mitm.state import ProxyState, client_of
from entrepot.mitm.transparent.redirected_layer import RedirectedConnection

TUNNEL_FACTOR = 12
_NEVER = 10 * 365 * 86400
_LOOKS = 4
"""How often a connection is looked at in the time that it may be idle."""


@dataclass(slots=True)
class _Watched:
    """A client's connection, and since when it is idle."""

    client: connection.Client
    handler: Any
    transport: asyncio.Transport
    since: float
    waiting: int = 0
    """Bytes that the client had not taken when last looked at."""
    activity: float = 0.0
    """When mitmproxy last saw an event of it."""
    flow: http.HTTPFlow | None = None
    answered: bool = False
    """Whether a request was answered already."""
    tunnel: bool = False


class IdleTimeout:
    """Watches the connections of clients, and drops those that are idle for ``--idle``."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state
        self._watched: dict[str, _Watched] = {}
        self._watching: asyncio.Task[None] | None = None

    def client_connected(self, client: connection.Client) -> None:
        """Watch a new connection."""
        handler = ctx.master.addons.get("proxyserver").connections[client.id]
        handler.timeout_watchdog.timeout = _NEVER
        writer = handler.transports[client].writer
        self._watched[client.id] = _Watched(client, handler, writer.transport, _now())
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    def client_disconnected(self, client: connection.Client) -> None:
        """Forget a connection that has ended: what hangs on it is hundreds of KiB."""
        self._watched.pop(client.id, None)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Note that a request has come, though perhaps not its body."""
        self._begin(flow)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Note that a CONNECT has come."""
        self._begin(flow)

    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Go on with what comes inside of CONNECT."""
        self._end(flow)
        if flow.metadata.get(TUNNEL):
            self._tunnelled(flow.client_conn)

    def response(self, flow: http.HTTPFlow) -> None:
        """Note that a request was answered; what follows a 101 is a tunnel."""
        self._end(flow)
        if flow.response is not None and flow.response.status_code == 101:
            self._tunnelled(flow.client_conn)

    def entrepot_redirected(self, redirected: RedirectedConnection) -> None:
        """Note that a redirected connection is a tunnel, which was decided just now."""
        if redirected.registry is None:
            self._tunnelled(redirected.context.client)

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Note that a CONNECT became a tunnel with its ClientHello (``certificate_refused``)."""
        if data.ignore_connection:
            self._tunnelled(data.context.client)

    def http_connect_error(self, flow: http.HTTPFlow) -> None:
        """Note that a CONNECT was refused."""
        self._end(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Note that a request has ended without an answer."""
        self._end(flow)

    def _begin(self, flow: http.HTTPFlow) -> None:
        if watched := self._watched.get(flow.client_conn.id):
            watched.flow = flow

    def _end(self, flow: http.HTTPFlow) -> None:
        if watched := self._watched.get(flow.client_conn.id):
            watched.flow, watched.since = None, _now()
            watched.answered = flow.request.method != "CONNECT"

    def _tunnelled(self, client: connection.Client) -> None:
        if watched := self._watched.get(client.id):
            watched.tunnel = True
            decouple_directions(watched.handler)

    async def _watch(self) -> None:
        seconds = self._state.parts().foundation.config.idle
        while True:
            await asyncio.sleep(seconds / _LOOKS)
            for watched in list(self._watched.values()):
                if _is_closed(watched.transport):
                    self._watched.pop(watched.client.id, None)
                elif reason := _overdue(watched, seconds):
                    self._drop(watched, reason)

    def _drop(self, watched: _Watched, reason: str) -> None:
        self._watched.pop(watched.client.id, None)
        self._state.parts().events.log(
            Event.CLIENT_DROPPED, client=client_of(watched.client), reason=reason
        )
        # Not close(), which would wait until the client has taken all that is written.
        watched.transport.abort()
        # Of a client that has ended its own direction nobody reads any more, so nobody sees that.
        io = watched.handler.transports.get(watched.client)
        if io is not None and io.handler is not None:
            io.handler.cancel(reason)


def _overdue(watched: _Watched, seconds: float) -> str | None:
    """Take a look; why the connection is to be dropped now, None where it is not."""
    waiting, activity = _untaken(watched.transport), watched.handler.timeout_watchdog.last_activity
    moved = activity != watched.activity
    took = waiting != watched.waiting
    watched.waiting, watched.activity = waiting, activity
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
        watched.since = _now()
    return reason if _now() - watched.since > limit else None


def _is_owed(watched: _Watched) -> bool:
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
